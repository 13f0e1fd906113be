// Names, and which files are taken for a block.
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>

#include "control/block/block.h"
#include "control/block/system.h"
#include "tests/unit/child.h"
#include "tests/unit/folder.h"

namespace membudget {
namespace {

using unit::Folder;

TEST(BlockName, IsOfAFewCharacters) {
  for (const char *good : {"a", "Z9", "a.b_c-d", "-", "_", "0", "a..b"}) EXPECT_TRUE(name_is_valid(good)) << good;
  for (const char *bad : {"", "a/b", "/", "a b", "a\n", "a:b", "\x80", "a%", "~"})
    EXPECT_FALSE(name_is_valid(bad)) << bad;
  EXPECT_TRUE(name_is_valid(std::string(64, 'x').c_str()));
  EXPECT_FALSE(name_is_valid(std::string(65, 'x').c_str()));
  EXPECT_FALSE(name_is_valid(std::string(10'000, 'x').c_str()));
  for (int c = 1; c < 256; ++c) {
    char name[] = {'a', static_cast<char>(c), '\0'};
    EXPECT_EQ(name_is_valid(name), c < 128 && (isalnum(c) || strchr("._-", c))) << c;
  }
}

TEST(BlockPath, IsFolderAndPrefixedName) {
  char path[64];
  ASSERT_TRUE(block_path("/dev/shm", "web", path, sizeof path));
  EXPECT_STREQ(path, "/dev/shm/membudget-web");
  EXPECT_FALSE(block_path("/dev/shm", "../etc", path, sizeof path));
  EXPECT_FALSE(block_path("/dev/shm", "", path, sizeof path));
  const size_t needed = strlen("/d/membudget-web") + 1;
  EXPECT_TRUE(block_path("/d", "web", path, needed));
  EXPECT_FALSE(block_path("/d", "web", path, needed - 1));
  EXPECT_FALSE(block_path("/d", "web", path, 0));
}

// A good block with one process in it, for tests to damage.
class BlockFile : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(block_join(folder_.path(), "g", &member_), 0); }
  void TearDown() override { block_close(&member_.block); }

  int open() const {
    Block block;
    int error = block_open(path_.c_str(), &block);
    block_close(&block);
    return error;
  }
  int join() const {
    BlockMember other;
    int error = block_join(folder_.path(), "g", &other);
    block_close(&other.block);
    return error;
  }
  // Neither to be read nor to be joined, and not removed either: it may be somebody's.
  void expect_refused(int error) const {
    EXPECT_EQ(open(), error);
    EXPECT_EQ(join(), error);
    EXPECT_EQ(access(path_.c_str(), F_OK), 0);
    EXPECT_FALSE(block_remove_if_unused(path_.c_str()));
    EXPECT_EQ(access(path_.c_str(), F_OK), 0);
  }

  Folder folder_;
  std::string path_ = folder_.block("g");
  BlockMember member_;
};

TEST_F(BlockFile, IsPrivateAndWhole) {
  struct stat about;
  ASSERT_EQ(stat(path_.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0600u);
  EXPECT_EQ(static_cast<uint64_t>(about.st_size), MEMBUDGET_BLOCK_BYTES);
  EXPECT_EQ(about.st_uid, geteuid());
  EXPECT_EQ(folder_.files(), 1u) << "nothing temporary is left";
  const Header *h = member_.block.header;
  EXPECT_EQ(h->magic, MEMBUDGET_MAGIC);
  EXPECT_EQ(h->abi_version, MEMBUDGET_ABI_VERSION);
  EXPECT_EQ(h->block_bytes, MEMBUDGET_BLOCK_BYTES);
  EXPECT_EQ(h->header_bytes, MEMBUDGET_HEADER_BYTES);
  EXPECT_EQ(h->process_bytes, sizeof(Process));
  EXPECT_EQ(h->process_count, MEMBUDGET_PROCESSES);
  EXPECT_EQ(h->shard_count, MEMBUDGET_SHARDS);
  EXPECT_EQ(h->shard_bytes, sizeof(Shard));
  EXPECT_EQ(h->shard_offset, offsetof(Process, shards));
  EXPECT_STREQ(h->name, "g");
  EXPECT_GT(h->created_ns, 0u);
  EXPECT_EQ(strlen(h->boot_id), 36u);
  EXPECT_EQ(open(), 0);
}

TEST_F(BlockFile, IsAsSmallAsWhatIsUsed) {
  struct stat about;
  ASSERT_EQ(stat(path_.c_str(), &about), 0);
  EXPECT_LT(about.st_blocks * 512, 64 << 10) << "the rest of the file is a hole";
}

TEST_F(BlockFile, OfAnotherVersionIsRefused) {
  Header *h = member_.block.header;
  const Header good = *h;
  h->magic ^= 1;
  expect_refused(-EPROTO);
  *h = good;
  h->abi_version++;
  expect_refused(-EPROTO);
  *h = good;
  h->block_bytes += 4096;
  expect_refused(-EPROTO);
  *h = good;
  h->process_bytes = 64;
  expect_refused(-EPROTO);
  *h = good;
  h->process_count = 1 << 30;
  expect_refused(-EPROTO);
  *h = good;
  h->shard_count = 1 << 30;
  expect_refused(-EPROTO);
  *h = good;
  h->shard_offset = 8;
  expect_refused(-EPROTO);
  *h = good;
  h->header_bytes = 8;
  expect_refused(-EPROTO);
  memset(h, 0xff, MEMBUDGET_HEADER_BYTES);
  expect_refused(-EPROTO);
  *h = good;
  EXPECT_EQ(open(), 0);
}

TEST_F(BlockFile, CutOffIsRefused) {
  for (off_t size : {off_t{0}, off_t{8}, off_t{4096}, static_cast<off_t>(MEMBUDGET_BLOCK_BYTES) - 1}) {
    ASSERT_EQ(truncate(path_.c_str(), size), 0);
    expect_refused(-EPROTO);
  }
}

// A header that was scribbled on leads no reader astray.
TEST_F(BlockFile, SlotsInUseAreClamped) {
  member_.block.header->process_high = UINT32_MAX;
  EXPECT_EQ(member_.block.process_high(), MEMBUDGET_PROCESSES);
  EXPECT_TRUE(block_is_in_use(member_.block));
}

TEST(BlockOpen, RefusesWhatIsNoFile) {
  Folder folder;
  Block block;
  const std::string path = folder.block("g");
  EXPECT_EQ(block_open(path.c_str(), &block), -ENOENT);
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  EXPECT_NE(block_open(path.c_str(), &block), 0);
  EXPECT_FALSE(block_remove_if_unused(path.c_str()));
  ASSERT_EQ(rmdir(path.c_str()), 0);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(block_open(path.c_str(), &block), -EPROTO) << "and does not wait for a writer";
  EXPECT_EQ(block.header, nullptr);
}

// A link that somebody planted leads to no file of ours, be it as good a block as any.
TEST(BlockOpen, DoesNotFollowLinks) {
  Folder folder;
  BlockMember member, other;
  ASSERT_EQ(block_join(folder.path(), "real", &member), 0);
  ASSERT_EQ(symlink(folder.block("real").c_str(), folder.block("g").c_str()), 0);
  ASSERT_EQ(symlink("/nowhere", folder.block("h").c_str()), 0);
  Block block;
  for (const char *name : {"g", "h"}) {
    EXPECT_EQ(block_open(folder.block(name).c_str(), &block), -EPROTO);
    EXPECT_EQ(block_join(folder.path(), name, &other), -EPROTO);
    EXPECT_FALSE(block_remove_if_unused(folder.block(name).c_str()));
  }
  EXPECT_EQ(access("/nowhere", F_OK), -1);
  block_close(&member.block);
}

// Needs root to play the other user.
class OtherUser : public ::testing::Test {
 protected:
  static constexpr uid_t kOther = 65534;
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to act as another user";
    ASSERT_EQ(chmod(folder_.path(), 0777), 0);
  }
  Folder folder_;
};

TEST_F(OtherUser, FilesAreRefused) {
  BlockMember member;
  ASSERT_EQ(block_join(folder_.path(), "g", &member), 0);
  ASSERT_EQ(chmod(folder_.block("g").c_str(), 0666), 0);
  unit::in_child([&] {
    ASSERT_EQ(seteuid(kOther), 0);
    Block block;
    BlockMember other;
    EXPECT_EQ(block_open(folder_.block("g").c_str(), &block), -EACCES);
    EXPECT_EQ(block_join(folder_.path(), "g", &other), -EACCES);
    EXPECT_FALSE(block_remove_if_unused(folder_.block("g").c_str()));
  });
  block_close(&member.block);
}

// What another user planted is never written to, by root least of all; reading it is for root.
TEST_F(OtherUser, FilesAreReadOnlyForRoot) {
  BlockMember member;
  ASSERT_EQ(block_join(folder_.path(), "g", &member), 0);
  ASSERT_EQ(chown(folder_.block("g").c_str(), kOther, kOther), 0);
  Block block;
  ASSERT_EQ(block_open(folder_.block("g").c_str(), &block), 0);
  EXPECT_FALSE(block.writable);
  block_close(&block);
  BlockMember other;
  EXPECT_EQ(block_join(folder_.path(), "g", &other), -EACCES);
  EXPECT_FALSE(block_remove_if_unused(folder_.block("g").c_str()));
  block_close(&member.block);
}

TEST(BlockOpen, KeepsErrno) {
  Folder folder;
  Block block;
  BlockMember member;
  errno = 12345;
  EXPECT_NE(block_open(folder.block("g").c_str(), &block), 0);
  EXPECT_EQ(block_join(folder.path(), "g", &member), 0);
  EXPECT_EQ(block_open(folder.block("g").c_str(), &block), 0);
  block_close(&block);
  block_remove_if_unused(folder.block("g").c_str());
  EXPECT_EQ(errno, 12345);
  block_close(&member.block);
}

}  // namespace
}  // namespace membudget
