#!/usr/bin/env bash
# The attack step of action.yml. Everything from outside arrives in the environment, and nothing of it is evaluated.
set -uo pipefail

# An input that is empty leaves the choice to the config file.
arguments=(attack)
while IFS= read -r line; do
  [ -n "$line" ] && arguments+=("$line")
done <<<"$VFC_ACTION_OPTIONS"
[ -n "$VFC_ACTION_RELEASE" ] && arguments+=(--release "$VFC_ACTION_RELEASE")
[ -n "$VFC_ACTION_DATASET" ] && arguments+=(--dataset "$VFC_ACTION_DATASET")
[ -n "$VFC_ACTION_BUDGET" ] && arguments+=(--budget "$VFC_ACTION_BUDGET")
while IFS= read -r line; do
  [ -n "$line" ] && arguments+=(--protocol "$line")
done <<<"$VFC_ACTION_PROTOCOLS"
while IFS= read -r line; do
  [ -n "$line" ] && arguments+=(--gate "$line")
done <<<"$VFC_ACTION_GATES"
[ -n "$VFC_ACTION_PRESET" ] && arguments+=(--gates "$VFC_ACTION_PRESET")
[ -n "$VFC_ACTION_CONFIG" ] && arguments+=(--config "$VFC_ACTION_CONFIG")
arguments+=(--out "$VFC_ACTION_OUT")

# Only a report of this run is shown: one that an earlier run left is not, and what is no run's is left alone.
shown=yes
if [ -e "$VFC_ACTION_OUT/.vfc-run.json" ]; then
  rm -f -- "$VFC_ACTION_OUT/report.json"
elif [ -e "$VFC_ACTION_OUT/report.json" ]; then
  shown=no
fi
vfc "${arguments[@]}"
code=$?

if [ "$shown" = no ] || [ ! -f "$VFC_ACTION_OUT/report.json" ]; then
  shown=no
  # Held, broken and inconclusive are said by a report. Whatever ended without one has not said it.
  case $code in
    0 | 1 | 3)
      echo "vfc attack ended with exit code $code and left no report, so nothing was decided" >&2
      code=4
      ;;
  esac
fi

if [ "$shown" = yes ]; then
  vfc report "$VFC_ACTION_OUT/report.json" --html "$VFC_ACTION_OUT/report.html" --junit "$VFC_ACTION_OUT/report.xml" \
    --sarif "$VFC_ACTION_OUT/report.sarif" --markdown "$VFC_ACTION_OUT/report.md" || code=$?
  cat -- "$VFC_ACTION_OUT/report.md" >>"$GITHUB_STEP_SUMMARY"
  cp -- "$VFC_ACTION_OUT/report.md" "$VFC_ACTION_OUT/comment.md"
  echo "report=true" >>"$GITHUB_OUTPUT"
  if [ -n "$VFC_ACTION_BASELINE" ]; then
    vfc compare "$VFC_ACTION_BASELINE" "$VFC_ACTION_OUT/report.json" --markdown "$VFC_ACTION_OUT/comment.md"
    # The gates were judged above; here only the baseline is.
    vfc gate "$VFC_ACTION_OUT/report.json" --baseline "$VFC_ACTION_BASELINE" --tolerance "$VFC_ACTION_TOLERANCE" \
      --config /dev/null
    against=$?
    # Broken beats everything, then something to change, then inconclusive.
    for worst in 1 4 2 3; do
      if [ "$code" -eq "$worst" ] || [ "$against" -eq "$worst" ]; then
        code=$worst
        break
      fi
    done
  fi
fi
echo "exit-code=$code" >>"$GITHUB_OUTPUT"
exit 0
