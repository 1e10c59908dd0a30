#!/usr/bin/env bash
# A program compiled with -fsanitize=thread sees another layout of a message with a map field than the distribution's protobuf
# library was built with: map_field.h gives the field's base class two more members for the sanitizer alone. All that the
# header inlines (range-for, size(), Struct::fields()) then reads the map at the wrong place, without a word at compile,
# link or start. Plain messages agree. Debian 12's protobuf 3.21.12-3+deb12u1, g++ 12.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
apt-get download -qq libprotobuf-dev=3.21.12-3+deb12u1 libprotobuf32=3.21.12-3+deb12u1 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu"
cat >sizes.cc <<'CPP'
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <cstdio>

// The compiler's size by the header, and the size that the library has of it.
template <class Message>
void Compare(const char* what) {
  const google::protobuf::Message& message = Message::default_instance();
  std::printf("%s: %s\n", what, message.SpaceUsedLong() == sizeof(Message) ? "agree" : "differ");
}

int main() {
  Compare<google::protobuf::Timestamp>("plain message");
  Compare<google::protobuf::Struct>("message with a map");
}
CPP
build=(g++ -std=c++17 -I root/usr/include sizes.cc -L root/usr/lib/x86_64-linux-gnu -lprotobuf)
"${build[@]}" -o usual
"${build[@]}" -o sanitized -fsanitize=thread
told="usual build
$(./usual)
-fsanitize=thread
$(./sanitized)"
echo "libprotobuf 3.21.12-3+deb12u1, $(g++ --version | head -1)"
echo "$told"
[ "$told" = 'usual build
plain message: agree
message with a map: agree
-fsanitize=thread
plain message: agree
message with a map: differ' ]
