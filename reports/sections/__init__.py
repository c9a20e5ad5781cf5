"""One protocol a file: its metrics, title, sentences and pictures. Found by name; see `reports.model.section`."""
