"""Do attack-free numbers predict attacks?"""
