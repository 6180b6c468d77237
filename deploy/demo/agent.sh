#!/bin/sh
# A scripted agent: reads the prompt on standard input and does the one thing that it asks for.
set -eu

prompt=$(cat)
case $prompt in
    *total.sh*) ;;
    *)
        echo "the prompt does not speak of total.sh"
        exit 1
        ;;
esac

echo "reading total.sh"
fixed=$(sed 's/sum - number/sum + number/' total.sh)
echo "adding instead of subtracting"
printf '%s\n' "$fixed" >total.sh
sh test.sh
