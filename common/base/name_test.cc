#include "common/base/name.h"

#include "gtest/gtest.h"

namespace homeward {
namespace {

TEST(Name, SaysWhatIsWrongWithIt) {
  EXPECT_EQ(WrongInName("web-1", 80), "");
  EXPECT_EQ(WrongInName("B\xc3\xbcro 2. Stock 'Ost' %2f", 80), "");
  EXPECT_EQ(WrongInName("", 80), "is empty");
  EXPECT_EQ(WrongInName("a\"b", 80), "has a quotation mark (\")");
  EXPECT_EQ(WrongInName("a\nb", 80), "has a control character (U+000a) at byte 2");
  EXPECT_EQ(WrongInName(absl::string_view("a\0b", 3), 80),
            "has a control character (U+0000) at byte 2");
  EXPECT_EQ(WrongInName("a\xc2\x85", 80), "has a control character (U+0085) at byte 2");
  EXPECT_EQ(WrongInName("a\xe2\x80\xa8", 80), "has a control character (U+2028) at byte 2");
  EXPECT_EQ(WrongInName("a/b", 80), "has a slash");
  EXPECT_EQ(WrongInName("a\\b", 80), "has a backslash");
  EXPECT_EQ(WrongInName("..", 80), "begins with a dot");
  EXPECT_EQ(WrongInName(" a", 80), "begins with a space");
  EXPECT_EQ(WrongInName("a ", 80), "ends with a space");
}

TEST(Name, ItsLimitCountsBytesAndSaysSo) {
  std::string name;
  for (int i = 0; i < 40; ++i) name += "\xc3\xa9";
  EXPECT_EQ(WrongInName(name, 80), "");
  EXPECT_EQ(WrongInName(name + "e", 80),
            "has 81 bytes; 80 are allowed, and a character that is not ASCII has two to four");
}

TEST(Name, OnlyUtf8IsText) {
  EXPECT_TRUE(IsUtf8("\xf0\x9f\x8f\xa0 home"));
  for (const char* const wrong : {"\xff", "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\x80",
                                  "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf0\x80\x80\x80"}) {
    EXPECT_FALSE(IsUtf8(wrong));
    EXPECT_EQ(WrongInName(wrong, 80), "is not UTF-8 at byte 1");
  }
}

TEST(Name, APlainOneCanBeTyped) {
  EXPECT_EQ(WrongInPlainName("vc-1.example_x", 64), "");
  EXPECT_EQ(WrongInPlainName("vc 1", 64), "has something else than letters, digits, -, _ and .");
}

TEST(Name, APathIsAbsolute) {
  EXPECT_EQ(WrongInPath("/mnt/a \"b\""), "");
  EXPECT_EQ(WrongInPath("mnt"), "is not an absolute path");
  EXPECT_EQ(WrongInPath("/mnt\n"), "has a control character (U+000a) at byte 5");
  EXPECT_EQ(WrongInPath(""), "is empty");
}

}  // namespace
}  // namespace homeward
