#!/usr/bin/env bash
# In a program compiled as C++20, absl::string_view is std::string_view: so says Abseil's documentation, and so it is in its own
# builds. Debian's package is fixed to C++14's types in options.h, and there it is an unrelated class: no function that takes
# a reference to one takes the other, and absl::optional and absl::any are others too. Debian 12's libabsl-dev
# 20220623.1-1+deb12u2, g++ 12.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
apt-get download -qq libabsl-dev=20220623.1-1+deb12u2 2>/dev/null
dpkg -x libabsl-dev_*.deb root
cat >same.cc <<'CC'
#include <absl/strings/string_view.h>
#include <absl/types/optional.h>
#include <cstdio>
#include <optional>
#include <string_view>
#include <type_traits>
int main() {
  std::printf("__cplusplus %ld: string_view the same %d, optional the same %d\n", __cplusplus,
              std::is_same_v<absl::string_view, std::string_view>, std::is_same_v<absl::optional<int>, std::optional<int>>);
}
CC
g++-12 -std=c++20 -I root/usr/include -c same.cc -o same.o
g++-12 same.o -o same root/usr/lib/*/libabsl_bad_optional_access.a root/usr/lib/*/libabsl_raw_logging_internal.a
told=$(./same)
echo "libabsl-dev $(dpkg-deb -f libabsl-dev_*.deb Version), g++ $(g++-12 -dumpfullversion)"
echo "$told"
[ "$told" = "__cplusplus 202002: string_view the same 0, optional the same 0" ]
