/* What each cause does to each level, as a table. */
#ifndef ZT_ACTION_H
#define ZT_ACTION_H

enum { LEVELS = 5, CAUSES = 6 };

enum Cause {
    CAUSE_PIN = 24,         /* a person set or lifted a pin */
    CAUSE_RESTORE,          /* a person ended the action */
    CAUSE_FALL,             /* the score stayed below the fall line */
    CAUSE_EXPIRY,           /* no fresh evidence for as long as the level lasts */
    CAUSE_REAUTHENTICATED,  /* the application authenticated the partner anew */
    CAUSE_SETTING           /* a cap or a policy changed */
};

/*                                       monitor alert throttle quarantine block */
static const unsigned char ACTION_TABLE[6][5] = {
    /* pin: the machine goes on below */   {0,     1,    2,       3,         4},
    /* restore */                          {0,     0,    0,       0,         0},
    /* fall */                             {0,     0,    1,       2,         3},
    /* expiry */                           {0,     0,    0,       0,         0},
    /* reauthenticated */                  {0,     1,    2,       0,         4},
    /* setting */                          {0,     1,    2,       3,         4},
};

static inline int action_next(int cause, int level) { return ACTION_TABLE[cause - CAUSE_PIN][level]; }

#endif
