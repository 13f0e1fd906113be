# title: ImageMagick: filters, formats, several threads
# needs: /usr/bin/convert-im6.q16
# packages: imagemagick
# version: convert-im6.q16 -version
# processes: convert-im6.q16
convert=convert-im6.q16
"$convert" -size 700x500 plasma:red-blue -seed 7 plasma.ppm 2> /dev/null || "$convert" -size 700x500 gradient:red-blue plasma.ppm
"$convert" -size 700x500 gradient:red-blue -swirl 200 base.ppm
for change in '-resize 300x' '-blur 0x3' '-rotate 33' '-colorspace Gray -edge 2' '-quantize YUV -colors 16' '-distort Arc 120'; do
  "$convert" base.ppm $change ppm:- | md5sum
done
for format in png jpg gif bmp tiff; do "$convert" base.ppm -strip "out.$format" && "$convert" "out.$format" -format '%m %w %h' info:; done
