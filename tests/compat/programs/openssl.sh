# title: OpenSSL: keys, certificates, ciphers, `openssl speed`, a TLS handshake
# needs: openssl
# packages: openssl
# version: openssl version
# processes: openssl
# quick: yes
seq 1 200000 > data
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem 2> /dev/null
openssl req -x509 -new -key key.pem -subj /CN=compat -days 2 -out cert.pem
openssl verify -CAfile cert.pem cert.pem
for digest in md5 sha1 sha256 sha512 blake2b512 sha3-256; do openssl dgst "-$digest" data; done
openssl dgst -sha256 -sign key.pem -out signature data
openssl pkey -in key.pem -pubout -out public.pem
openssl dgst -sha256 -verify public.pem -signature signature data
for cipher in aes-256-cbc aes-128-ctr chacha20 camellia-256-cbc; do
  openssl enc "-$cipher" -pbkdf2 -pass pass:x -in data -out sealed
  openssl enc -d "-$cipher" -pbkdf2 -pass pass:x -in sealed | cmp - data && echo "$cipher"
done
for algorithm in X25519 ED25519 EC; do
  openssl genpkey -algorithm "$algorithm" $([[ $algorithm != EC ]] || echo -pkeyopt ec_paramgen_curve:P-256) -out a.pem
  openssl pkey -in a.pem -noout && echo "$algorithm"
done
openssl dhparam -dsaparam -out dh.pem 1024 2> /dev/null && echo dhparam
openssl cms -sign -in data -signer cert.pem -inkey key.pem -binary -outform DER -out signed -nosmimecap
openssl cms -verify -inform DER -in signed -CAfile cert.pem -purpose any -out verified 2> /dev/null && cmp data verified
openssl speed -seconds 1 -bytes 1024 -multi 2 sha256 > /dev/null 2>&1 && echo speed
# A handshake over a pipe of a Unix socket.
openssl s_server -unix tls.sock -cert cert.pem -key key.pem -www -naccept 1 > /dev/null 2>&1 &
for _ in $(seq 200); do [[ -S tls.sock ]] && break; sleep 0.05; done
printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -unix tls.sock -CAfile cert.pem -quiet -ign_eof 2> /dev/null | grep -c 'HTTP/1.0 200'
wait
