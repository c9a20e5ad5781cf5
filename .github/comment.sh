#!/usr/bin/env bash
# The comment step of action.yml: one comment on a pull request, written anew by every run. It decides nothing.
set -uo pipefail

if [ -z "$GH_TOKEN" ] || [ -z "$VFC_ACTION_NUMBER" ] || [ ! -f "$VFC_ACTION_OUT/comment.md" ]; then
  echo "no pull request to comment on, or nobody to do it"
  exit 0
fi
comments="repos/$VFC_ACTION_REPOSITORY/issues"
body=$(mktemp)
{
  echo "<!-- vfc privacy gate -->"
  cat -- "$VFC_ACTION_OUT/comment.md"
} >"$body"

# Only a comment of a bot's is overwritten: anybody can write one that begins alike.
earlier=$(gh api --paginate "$comments/$VFC_ACTION_NUMBER/comments" --jq \
  '.[] | select(.user.type == "Bot" and (.body | startswith("<!-- vfc privacy gate -->"))) | .id' | tail -n 1)
if [ -n "$earlier" ]; then
  gh api --silent --method PATCH "$comments/comments/$earlier" --field "body=@$body"
else
  gh api --silent --method POST "$comments/$VFC_ACTION_NUMBER/comments" --field "body=@$body"
fi || echo "::warning::vfc could not comment on the pull request; it needs the permission pull-requests: write"
rm -f -- "$body"
exit 0
