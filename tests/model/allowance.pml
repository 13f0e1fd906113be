/* allowance.pml: the allowance protocol of control/block/budget.cc and allocator/ledger.cc, for spin.
 *
 * THREADS threads allocate and free OPERATIONS blocks each of 1 to LARGEST bytes, of their own and of each
 * other, around one mark. Each thread counts in a shard of its own and looks up only when it meets one of
 * its triggers; whoever looks up grants itself what nobody has, or withdraws every allowance, sums,
 * brings the level in line, and hands out new ones.
 *
 * Memory is x86's: what an owner adds waits in a store buffer, in order, and any locked instruction of the
 * owner's, or a membarrier by anybody, drains it. Stores under the lock are modelled as seen at once:
 * seen later they only keep a thread in the slow path for longer.
 *
 * Checked at every step: no crossing unseen. `completed` are the bytes whose allocation has returned and
 * whose free has not begun, `begun` those whose allocation has begun and whose free has not returned.
 *   - completed >= MARK        implies that the level is up;
 *   - begun < MARK - GAP       implies that it is down again;
 *   - it rises only when begun >= MARK, and falls only when completed < MARK - GAP.
 *
 * Faults that must be found, one at a time: NO_MEMBARRIER, NO_POISON, COMPARE_FIRST (the owner compares
 * before it adds), RESUM (a share is handed out on top of a later count than the one summed), STALE_REARM
 * (an owner re-arms by an allowance that was withdrawn meanwhile), OFF_BY_ONE (a mark one byte too high).
 */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef OPERATIONS
#define OPERATIONS 3
#endif
#ifndef LARGEST
#define LARGEST 2
#endif
#ifndef MARK
#define MARK 5
#endif
#ifndef GAP
#define GAP 2
#endif
#ifndef START
#define START 0 /* bytes of threads that are gone: counted by all, owned by nobody */
#endif
#ifndef STEP
#define STEP 1 /* how far a thread grows before it notes a peak, which re-arms without the lock */
#endif
#ifndef BUFFERED
#define BUFFERED 2 /* stores */
#endif
#define LEAST 1  /* a share below this is not worth granting */
#define FAR 100
#ifdef COARSE /* what concerns one shard in one step: for three threads, whose steps would be too many */
#define together atomic
#else
#define together
#endif
#define POISON (-100)

#ifdef OFF_BY_ONE
#define LAST_BELOW MARK
#else
#define LAST_BELOW (MARK - 1)
#endif

mtype = { ALLOCATED, FREED };

short allocated[THREADS], freed[THREADS];         /* as all others see them */
chan buffer[THREADS] = [BUFFERED] of { mtype, short };   /* stores of the owner on their way there */
short allocated_trigger[THREADS], freed_trigger[THREADS];
short ceiling[THREADS], floor[THREADS];
bit locked, level, was_up;

short completed = START, begun = START; /* ghosts: no thread reads them */

inline check() {
  assert(!(completed >= MARK && !level));
  assert(!(begun < MARK - GAP && level));
#ifdef CLAIM_IT_STAYS_DOWN /* false: or else the rest would hold of a model in which nothing happens */
  assert(!level);
#endif
#ifdef CLAIM_IT_STAYS_UP /* false, too */
  assert(!(was_up && !level));
#endif
  was_up = was_up | level
}

#ifdef UNSEEN_ONLY /* a fault has to break the first two, not just these */
#define too_early(good) skip
#else
#define too_early(good) assert(good)
#endif

#define share(room) (((room) > 0) * (room) / (2 * THREADS))
#define minimum(a, b) (((a) < (b)) * (a) + ((a) >= (b)) * (b))
#define own_net (own_allocated - own_freed)
#define is_poisoned(i) (allocated_trigger[i] == POISON || freed_trigger[i] == POISON)
#define trigger_is_met (own_allocated > allocated_trigger[me] || own_freed > freed_trigger[me])

/* Takes one store out of a buffer, at any time. */
proctype Memory(byte owner) {
  mtype word;
  short value;
end:
  do
  :: atomic {
       buffer[owner]?word, value ->
       if
       :: word == ALLOCATED -> allocated[owner] = value
       :: word == FREED -> freed[owner] = value
       fi;
       word = ALLOCATED;
       value = 0
     }
  od
}

/* Ceiling and floor first: who sees the trigger sees them. */
inline arm(i, net, growth, shrinkage) {
  together {
    ceiling[i] = net + growth;
    floor[i] = net - shrinkage;
    allocated_trigger[i] = freed[i] + net + minimum(growth, STEP);
    atomic { freed_trigger[i] = minimum(FAR, allocated[i] - (net - shrinkage)); i++ }
  }
}

inline membarrier() {
#ifdef NO_MEMBARRIER
  skip
#else
  i = 0;
  do
  :: atomic { i < THREADS && empty(buffer[i]) -> i++ }
  :: i == THREADS -> break
  od
#endif
}

inline withdraw_all() {
#ifndef NO_POISON
  i = 0;
  do
  :: together {
       i < THREADS -> allocated_trigger[i] = POISON;
       atomic { freed_trigger[i] = POISON; i++ }
     }
  :: i == THREADS -> break
  od;
#endif
  membarrier()
}

inline sum() {
  i = 0;
  total = START;
  do
  :: together {
       atomic { i < THREADS -> summed[i] = -freed[i] };
       atomic { summed[i] = summed[i] + allocated[i]; total = total + summed[i]; i++ }
     }
  :: i == THREADS -> break
  od
}

inline set_level() {
  atomic {
    if
    :: !level && total > LAST_BELOW -> too_early(begun >= MARK); level = 1
    :: level && total < MARK - GAP -> too_early(completed < MARK - GAP); level = 0
    :: else
    fi;
    check()
  }
}

inline distribute() {
  atomic {
    up = level * FAR + !level * share(LAST_BELOW - total);
    down = !level * FAR + level * share(total - (MARK - GAP));
    i = 0
  }
  do
  :: i < THREADS ->
#ifdef RESUM
     summed[i] = allocated[i] - freed[i];
#endif
     arm(i, summed[i], up, down)
  :: else -> break
  od
}

/* Sets `granted`. Others count as what they may reach, not as what they have: nothing to withdraw. */
inline grant() {
  d_step {
    up = START + own_net;
    down = up;
    i = 0;
    do
    :: i < THREADS ->
       if
       :: i != me -> up = up + ceiling[i]; down = down + floor[i]
       :: else
       fi;
       i++
    :: else -> break
    od;
    up = level * FAR + !level * ((LAST_BELOW - up) / 2);
    down = !level * FAR + level * ((down - (MARK - GAP)) / 2);
    granted = up >= LEAST && down >= LEAST
  };
  if
  :: granted -> i = me; arm(i, own_net, up, down)
  :: else
  fi
}

inline attend() {
  atomic { !locked && empty(buffer[me]) -> locked = 1 };
  grant();
  if
  :: granted
  :: else -> withdraw_all(); sum(); set_level(); distribute()
  fi;
  atomic { locked = 0; granted = 0; up = 0; down = 0; total = 0; i = 0; summed[0] = 0; summed[1] = 0; summed[THREADS - 1] = 0 }
}

/* Replaces a trigger, unless it is withdrawn at the same time. */
inline rearm(trigger, value) {
  seen = trigger;
  atomic {
    empty(buffer[me]);
    if
    :: seen != POISON && trigger == seen -> trigger = value
    :: else
    fi
  }
}

/* By the allowance that was looked up, without the lock; again when that was replaced meanwhile. */
inline rearm_own() {
  do
  :: rearm(allocated_trigger[me], own_freed + minimum(may_reach, own_net + STEP));
     rearm(freed_trigger[me], minimum(FAR, own_allocated - may_fall));
#ifndef STALE_REARM
     if
     :: ceiling[me] != may_reach || floor[me] != may_fall -> may_reach = ceiling[me]; may_fall = floor[me]
     :: else -> break
     fi
#else
     break
#endif
  od
}

inline settle() {
  do
  :: together {
       poisoned = is_poisoned(me);
       may_reach = ceiling[me];
       may_fall = floor[me]
     };
     if
     :: !poisoned && own_net <= may_reach && own_net >= may_fall -> rearm_own()
     :: else -> attend()
     fi;
     if
     :: trigger_is_met
     :: else -> break
     fi
  od;
  atomic { poisoned = 0; may_reach = 0; may_fall = 0; seen = 0 }
}

inline allocate(bytes) {
#ifdef COMPARE_FIRST
  met = (own_allocated + bytes > allocated_trigger[me]);
  atomic { nfull(buffer[me]) -> begun = begun + bytes; own_allocated = own_allocated + bytes; buffer[me]!ALLOCATED, own_allocated };
#else
  atomic { nfull(buffer[me]) -> begun = begun + bytes; own_allocated = own_allocated + bytes; buffer[me]!ALLOCATED, own_allocated };
  met = (own_allocated > allocated_trigger[me]);
#endif
  if
  :: met -> settle()
  :: else
  fi;
  atomic { met = 0; completed = completed + bytes; check() }
}

inline released(bytes) {
  met = (own_freed > freed_trigger[me]);
  if
  :: met -> settle()
  :: else
  fi;
  atomic { met = 0; begun = begun - bytes; check() }
}

proctype Thread(byte me) {
  short own_allocated, own_freed, summed[THREADS];
  short up, down, total, seen, may_reach, may_fall;
  byte i, operations, bytes;
  bit granted, poisoned, met;
  do
  :: atomic { operations < OPERATIONS -> operations++; select(bytes : 1 .. LARGEST) };
     if
     :: allocate(bytes)
     :: atomic { /* begins to free: nobody else can free these bytes */
          nfull(buffer[me]) && completed >= bytes ->
          completed = completed - bytes;
          own_freed = own_freed + bytes;
          buffer[me]!FREED, own_freed
        };
        released(bytes)
     :: break /* a thread may also end early */
     fi
  :: else -> break
  od
}

init {
  byte t;
  atomic {
    do
    :: t < THREADS ->
       ceiling[t] = share(LAST_BELOW - START);
       floor[t] = -FAR;
       allocated_trigger[t] = minimum(ceiling[t], STEP);
       freed_trigger[t] = FAR;
       run Memory(t);
       run Thread(t);
       t++
    :: else -> break
    od
  }
}
