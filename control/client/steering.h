// What the command line needs beyond <membudget/membudget.h>. In the static client only, not exported by
// libmembudget-client.so: these may change from one version to the next. Errors as there: 0 or -errno.
#pragma once

#include "control/client/api.h"

// Opens the group `name` even when no process of it is left: its peaks and crossings outlive them.
int membudget_open_ended(const char *directory, const char *name, membudget_t **out);

// Removes the block of the group `name`, if it is this user's and no process of it is left.
void membudget_remove_ended(const char *directory, const char *name);

// Sets the group's hard limit, 0 for none. As membudget_set_limit.
int membudget_set_hard_limit(membudget_t *, int64_t bytes);

// As membudget_trim, waiting up to timeout_ms for every process of the target (-ETIMEDOUT: the request
// stands, it is done when the process next allocates or frees). Adds up what was given back, if asked.
int membudget_trim_within(membudget_t *, int64_t timeout_ms, int64_t *released_bytes);

// Has each process of the target write a profile, and tells of each: 0 and the file, which is the caller's to remove,
// or -errno (-ENODATA: it takes no stacks, -ETIMEDOUT, -ESRCH). 0, or -errno when there was none to ask.
int membudget_profile_each(membudget_t *, int64_t timeout_ms,
                           void (*tell)(int pid, const char *path, int error, void *context), void *context);

// Has the target's processes take stacks, so many bytes apart; 0 for no more. As membudget_set_limit.
int membudget_set_profile(membudget_t *, int64_t mean_bytes);

// Sleeps until the target ended (0) or the time is over (-ETIMEDOUT); -EINTR after a signal.
int membudget_wait_end(membudget_t *, int64_t timeout_ms);

// Takes this process out of its group, before it executes a program that is to be in another: a slot lives
// as long as its process does. Nothing where it runs under no library.
void membudget_leave_group(void);
