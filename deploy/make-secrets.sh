#!/bin/sh
# Write the secrets of compose.yaml, once: two passwords, and the URLs that hold them. What is there stays as it is.
set -eu
umask 077
folder=$(dirname "$0")/secrets
mkdir -p "$folder"

for role in owner service; do
    if [ ! -e "$folder/${role}_password" ]; then
        # Letters and digits: nothing of it has to be escaped in a URL.
        password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
        printf '%s\n' "$password" > "$folder/${role}_password"
        printf 'postgresql://cidrgate_%s:%s@postgres:5432/platform\n' "$role" "$password" > "$folder/${role}_url"
        # Compose gives a file to a container with its mode, and users of containers are not those of this machine.
        # Others of this machine are kept out by the mode of the folder.
        chmod 0644 "$folder/${role}_password" "$folder/${role}_url"
    fi
done
echo "the secrets are in $folder"
