/* The protocol of src/ztcore/own.pxd for one row, for spin: workers that enter, post, apply, leave; any of
 * them may be killed before any of its stores, or not go on for as long as it likes; two janitors, one of which
 * may be killed too, that take rows from the dead and take in what was left in lists. Names are those of own.pxd.
 *
 *   WORKERS  processes (2)     EVENTS  of each (2)     KILLS  at most (1)
 *   JANITORS 2: a second one, which may be killed (1)
 *   FORGETFUL  the janitor does not mark a busy row anew: spin must find the list that is stranded
 *   HASTY    it takes a dead process's record for lost without looking for it in the list: spin must find an event both applied and lost
 *   LEAVES   rows left with a list in their word, at most (1)
 *
 * Each worker has one record, so that it also runs out of them: such an event is counted as dropped.
 * What is checked: no event is applied twice; only the owner writes the row; when all have ended and the
 * janitor has nothing to do, nobody owns the row, nothing is posted, taken or half done, every record is free again,
 * each event whose call returned was applied or counted, and what was counted as lost was never applied. An end that is none of these is an invalid end state to spin.
 * Memory is sequentially consistent here: docs/concurrency.md argues the rest.
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef EVENTS
#define EVENTS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef JANITORS
#define JANITORS 1
#endif
#ifndef LEAVES
#define LEAVES 1
#endif
#define JANITOR (WORKERS + 1)   /* one that stays, and one that may be killed at its work */
#define MORTAL (WORKERS + 2)
#define ALL (WORKERS * EVENTS + 1)

/* the word */
byte owner = 0, head = 0, version = 0;
/* the row */
byte todo = 0, candidate = 0, candidate_version = 0;
byte applying = 0, applying_generation = 0, applying_events = 0;
byte events = 0;
bool pending = false;
/* records: 0 free, 1 prepared, 2 posted or about to be; record i belongs to worker i */
byte record_state[JANITOR], generation[JANITOR], next[JANITOR], event_of[JANITOR];
/* what happened */
bool dead[MORTAL + 1], returned[ALL], counted[ALL], lost[ALL];
byte applied[ALL];
byte kills = 0, leaves = 0, ended = 0;

#if WORKERS > 2
#define leaked ((dead[1] && record_state[1] != 0) || (dead[2] && record_state[2] != 0) || (dead[3] && record_state[3] != 0))
#else
#define leaked ((dead[1] && record_state[1] != 0) || (dead[2] && record_state[2] != 0))
#endif

/* a store of this process, before which it may be killed */
#define STORE  if :: atomic { kills < KILLS && me != JANITOR -> kills++; dead[me] = true; goto killed } :: skip fi

inline apply(e) {       /* observe(): its last store commits */
    STORE; assert(owner == me);                                 /* statistics */
    STORE; d_step { assert(owner == me); events++; applied[e]++; assert(applied[e] == 1) }
}

inline apply_first() {  /* row_apply() */
    n = todo;
    STORE; d_step { applying = n; applying_generation = generation[n]; applying_events = events }
    apply(event_of[n]);
    m = next[n];
    STORE; todo = m;
    STORE; record_state[n] = 0;
    STORE; applying = 0
}

inline drain() {        /* row_drain() */
    done = false;
    do
    :: done -> break
    :: !done && todo != 0 -> apply_first()
    :: !done && todo == 0 ->
        d_step { h = head; v = version }
        if
        :: h == 0 ->
            STORE; atomic { if :: head == 0 -> assert(owner == me && version == v); owner = 0; version++; done = true :: else fi }
        :: h != 0 && leaves < LEAVES -> /* the budget may be used up at any time, but not for ever */
            leaves++;
            STORE; pending = true;
            STORE; atomic { if :: head == h -> assert(owner == me); owner = 0; version++; done = true :: else fi }
        :: h != 0 ->
            STORE; d_step { candidate = h; candidate_version = v }
            STORE; atomic { if :: head == h -> assert(owner == me && version == v); head = 0; version++; took = true
                               :: else -> took = false fi }
            if :: took -> STORE; todo = candidate :: else fi;
            STORE; candidate = 0
        fi
    od
}

inline recover() {      /* row_recover(): every step may be repeated, for this one may be killed too */
    if
    :: candidate != 0 ->
        if :: version == (candidate_version + 1) % 256 -> STORE; todo = candidate :: else fi;
        STORE; candidate = 0
    :: else
    fi;
    if
    :: applying != 0 ->
        n = applying;
        if
        :: events != applying_events && record_state[n] == 2 && generation[n] == applying_generation ->
            if :: todo == n -> m = next[n]; STORE; todo = m :: else fi;
            STORE; record_state[n] = 0
        :: else
        fi;
        STORE; applying = 0
    :: else
    fi
}

inline list_has(first) {
    n = first;
    do
    :: n == 0 -> break
    :: n != 0 -> found = found || n == k; n = next[n]
    od
}

inline reap() {         /* a dead process's record: janitor_reap(), janitor_strays() */
    if
    :: record_state[k] == 1 -> STORE; record_state[k] = 0   /* not whole */
    :: else ->
        atomic { if :: owner == 0 -> owner = me; mine = true :: else -> mine = false fi };
        if
        :: mine ->
            h = head;
            found = false;
#ifndef HASTY
            list_has(h);
            list_has(todo);
#endif
            if
            :: !found && record_state[k] == 2 ->
                STORE; d_step { record_state[k] = 0; lost[event_of[k]] = true }
            :: else
            fi;
            drain()
        :: else
        fi
    fi
}

proctype Worker(byte me) {
    byte i = 0, e, o, h, v, n, m;
    bool done, took, entered, have;
    do
    :: i == EVENTS -> break
    :: i < EVENTS ->
        e = (me - 1) * EVENTS + i + 1;
        i++;
        have = false;
        done = false;
        entered = false;
        do
        :: done || entered -> break
        :: !done && !entered ->
            /* row_try() */
            STORE; atomic { if :: owner == 0 -> owner = me; entered = true :: else fi };
            if
            :: entered -> if :: have -> STORE; record_state[me] = 0 :: else fi
            :: !entered && !have && record_state[me] != 0 -> counted[e] = true; done = true
            :: !entered && !have && record_state[me] == 0 ->
                STORE; record_state[me] = 1; have = true;
                STORE; event_of[me] = e;
                STORE; generation[me]++;
                STORE; record_state[me] = 2
            :: !entered && have ->
                d_step { o = owner; h = head; v = version }
                if
                :: o == 0
                :: o != 0 ->
                    STORE; next[me] = h;
                    STORE; atomic { if :: owner == o && head == h && version == v -> head = me; done = true; returned[e] = true
                                       :: else fi }
                fi
            fi
        od;
        if
        :: entered -> apply(e); returned[e] = true; drain()
        :: else -> returned[e] = true
        fi
    od;
killed:
    ended++
}

proctype Janitor(byte me) {
    byte o, h, v, n, m, k;
    bool done, took, mine, found;
    do
    :: atomic { owner != 0 && dead[owner] -> o = owner };   /* whose lock is free: row_take() */
        atomic { if :: owner == o -> owner = me; mine = true :: else -> mine = false fi };
        if :: mine -> recover(); drain() :: else fi
    :: atomic { dead[1] && record_state[1] != 0 && owner == 0 -> k = 1 } -> reap()
    :: atomic { dead[2] && record_state[2] != 0 && owner == 0 -> k = 2 } -> reap()
#if WORKERS > 2
    :: atomic { dead[3] && record_state[3] != 0 && owner == 0 -> k = 3 } -> reap()
#endif
    :: pending ->                           /* janitor_adopt() */
        pending = false;
        d_step { o = owner; h = head }
        if
        :: o == 0 && h == 0
        :: else ->
            atomic { if :: owner == 0 -> owner = me; mine = true :: else -> mine = false fi };
            if :: mine -> drain()
               :: else ->       /* its owner may be about to leave it with a list, and has marked it already */
#ifndef FORGETFUL
                   pending = true
#else
                   skip
#endif
            fi
        fi
    :: me == MORTAL -> break
    :: me == JANITOR && ended == WORKERS + 1 && !(owner != 0 && dead[owner]) && !pending && !leaked -> break
    od;
    if :: me == MORTAL -> goto killed :: else fi;
    assert(owner == 0 && head == 0 && todo == 0 && candidate == 0 && applying == 0);
    for (k : 1 .. WORKERS * EVENTS) {
        assert(!returned[k] || applied[k] == 1 || counted[k]);
        assert(!(applied[k] == 1 && counted[k]));
        assert(!lost[k] || (applied[k] == 0 && !returned[k]))
    }
    for (k : 1 .. WORKERS) {
        assert(record_state[k] == 0)
    }
    goto end;
killed:
    ended++;
end:
    skip
}

init {
    atomic {
        byte w;
        for (w : 1 .. WORKERS) { run Worker(w) }
        run Janitor(JANITOR);
        if :: JANITORS == 2 -> run Janitor(MORTAL) :: else -> ended++ fi
    }
}
