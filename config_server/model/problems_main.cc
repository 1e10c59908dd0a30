// homeward-problems: prints docs/problems.md.
#include <cstdio>

#include "config_server/model/problems.h"

int main() {
  std::fputs(homeward::ProblemsPage().c_str(), stdout);
  return 0;
}
