# title: tar, gzip, bzip2, xz and zstd, several threads: there and back
# needs: tar gzip bzip2 xz zstd
# packages: tar gzip bzip2 xz-utils zstd
# version: tar --version
# processes: xz zstd
# quick: yes
mkdir tree && for i in $(seq 1 150); do seq "$i" "$((i * 20))" > "tree/file-$i"; done
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf tree.tar tree
md5sum tree.tar
for tool in "gzip -n -6" "bzip2 -9" "xz -T2 -6 --block-size=1MiB" "zstd -q -T2 -12 --long" "zstd -q -15"; do
  $tool -c < tree.tar > packed
  md5sum < packed
  ${tool%% *} -dc < packed | cmp - tree.tar && echo "$tool"
done
mkdir out && tar -xf tree.tar -C out && diff -r tree out/tree
tar -C out -I 'zstd -T0 -q' -cf again.tar.zst tree && tar -tf again.tar.zst | wc -l
tar --sort=name -cJf again.tar.xz tree && tar -xJOf again.tar.xz tree/file-7 | md5sum
