#!/bin/bash
set -e

mkdir -p /srv/odd /srv/rough
cd /srv/odd
long=$(printf 'long-%.0s' {1..40})
for name in 'two words' ' space at both ends ' "it's" 'say "so"' 'back\slash' $'line\nfeed' $'tab\tstop' '*?[a]' \
  '$HOME `id` ; & | > <' '-rf' '--help' '#hash' '100%' '%41' 'a+b=c' '~' 'naïve-日本語' 'CASE' 'case' '...' "$long"; do
  printf '%s' "$name" > "./$name"
done
: > empty
mkdir -p 'empty directory' 'sub directory/deeper'
echo deep > 'sub directory/deeper/file'
echo private > private
chmod 600 private
printf '#!/bin/sh\necho ran\n' > runnable
chmod 755 runnable
ln -s 'two words' 'link to file'
ln -s 'sub directory' 'link to directory'
ln -s nowhere 'link to nothing'

cd /srv/rough
echo kept > kept.txt
echo temporary > left-out.tmp
ln -s /etc/hostname absolute-link
mkfifo pipe

echo one > '/srv/one file.txt'
