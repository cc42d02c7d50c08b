#!/bin/sh
# Makes all files of this folder anew. README.md tells what they are.
set -e
cd "$(dirname "$0")"
rm -f ./*.pem ./*.key
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

LONG='20200101000000Z 21200101000000Z'

key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null
}

# issue NAME SUBJECT ISSUER|self EXTENSIONS NOT_BEFORE NOT_AFTER
issue() {
    [ -e "$1.key" ] || key "$1"
    printf '%b\n' "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n$4" > "$work/ext"
    : > "$work/index"
    openssl rand -hex 8 > "$work/serial"
    printf '%s\n' '[ca]' 'default_ca=d' '[d]' "database=$work/index" "serial=$work/serial" \
        "new_certs_dir=$work" 'default_md=sha256' 'policy=p' 'unique_subject=no' '[p]' \
        'C=optional' 'O=optional' 'OU=optional' 'CN=optional' > "$work/conf"
    openssl req -new -utf8 -key "$1.key" -subj "$2" -config /dev/null -out "$work/csr"
    if [ "$3" = self ]; then signer="-selfsign -keyfile $1.key"
    else signer="-cert $3.pem -keyfile $3.key"; fi
    # shellcheck disable=SC2086
    openssl ca -batch -notext -utf8 -config "$work/conf" -in "$work/csr" $signer \
        -extfile "$work/ext" -startdate "$5" -enddate "$6" -out "$1.pem" 2>"$work/log" \
        || { cat "$work/log"; exit 1; }
}

AUTHORITY='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign'
leaf() { echo "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=$1"; }
SERVER=$(leaf serverAuth)
CLIENT=$(leaf clientAuth)

issue ca '/CN=tremolo test CA' self "$AUTHORITY" $LONG
issue other_ca '/CN=another CA' self "$AUTHORITY" $LONG
issue intermediate '/CN=tremolo test intermediate CA' ca "$AUTHORITY" $LONG
for name in a b localhost; do key "$name"; done
issue localhost '/CN=localhost' ca "$SERVER\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1" $LONG
issue a '/CN=a.example' ca "$SERVER\nsubjectAltName=DNS:a.example" $LONG
issue b '/CN=b.example' ca "$SERVER\nsubjectAltName=DNS:b.example,DNS:www.b.example" $LONG
issue wildcard '/CN=w.example' ca "$SERVER\nsubjectAltName=DNS:*.w.example" $LONG
issue punycode '/CN=xn--bcher-kva.example' ca \
    "$SERVER\nsubjectAltName=DNS:xn--bcher-kva.example" $LONG
issue common_name '/CN=cn.example' ca "$SERVER" $LONG
issue chain '/CN=chain.example' intermediate "$SERVER\nsubjectAltName=DNS:chain.example" $LONG
cat intermediate.pem >> chain.pem
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null
issue rsa '/CN=rsa.example' ca \
    "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\nsubjectAltName=DNS:rsa.example" \
    $LONG
issue expired '/CN=a.example' ca "$SERVER\nsubjectAltName=DNS:a.example" \
    20200101000000Z 20210101000000Z
issue future '/CN=a.example' ca "$SERVER\nsubjectAltName=DNS:a.example" \
    21190101000000Z 21200101000000Z
issue client '/C=NL/O=Strings, Bows \& Co./OU=bücher+OU=more/CN=alice' ca "$CLIENT" $LONG
issue client_chain '/CN=bob' intermediate "$CLIENT" $LONG
cat intermediate.pem >> client_chain.pem
issue client_expired '/CN=carol' ca "$CLIENT" 20200101000000Z 20210101000000Z
issue stranger '/CN=mallory' other_ca "$CLIENT" $LONG

openssl pkcs8 -topk8 -in a.key -out encrypted.key -passout pass:secret -v2 aes-256-cbc
cat a.pem a.key > combined.pem
key other
