# What is remembered of one partner: 1,984 bytes, no pointers. The numpy dtype beside it is layout.ROW.
#
# The first cache line holds all that check() and the table read. An ordinary event touches that,
# the next three, and one or two of its endpoints'; what only a hit, a new source, a learning tick
# or a person looks at comes behind. Half of what an event costs is waiting for these lines.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from ztcore.endpoints cimport ENDPOINTS, Endpoint
from ztcore.histogram cimport Histogram
from ztcore.hours cimport Hours
from ztcore.jobs cimport Jobs
from ztcore.methods cimport MethodSet
from ztcore.mix cimport Mix
from ztcore.minutes cimport Minutes
from ztcore.moments cimport Moments
from ztcore.objects cimport ObjectIds
from ztcore.shares cimport Shares
from ztcore.sources cimport SourceSet
from ztcore.tails cimport Tails
from ztcore.verdict cimport Why
from ztcore.welford cimport Welford

cdef enum:
    COUNTERS = 18               # the signals that are shares, and the calls that are unfamiliar
    WHYS = 2                    # reasons kept with a level

cdef enum:                      # flags
    ROW_ALLOWED = 1             # scored, never acted on
    ROW_NAME_HASHED = 2         # the name was over 64 bytes or unknown: a pseudonym stands for it
    ROW_KEEP = 4                # carries a person's setting: never evicted
    ROW_ABSOLUTE = 8            # the level was reached by a ceiling, which auto_throttle=False leaves in force
    ROW_GROWN = 16              # learning is over
    ROW_SETTLED = 32            # burn-in is over: what is new is news
    ROW_LOUD = 128              # the last event was no quiet one: it teaches nothing
    ROW_RATED = 64              # enough was seen to say what rate is usual

cdef enum:
    NO_PIN = 255

cdef struct Row:
    # -- line 0
    uint64_t word               # owner | list of posted records | version, see word.pxd
    uint64_t key                # 0: empty
    uint64_t decision           # packed, see action.pxd
    uint64_t bucket             # GCRA: theoretical arrival time, ns
    int64_t reference           # forward decay counts from here, ns
    int64_t last_seen           # ns
    int64_t next_tick           # when learning is due, ns
    uint64_t events
    # -- line 1: a lane for each half-life
    float trials[4]             # events, forward decayed
    float seen[4]               # the same for the rate, which saturates on its own
    float expected[4]           # what the baseline expected in the same time
    float weight[4]             # the decay weight up to which `expected` is advanced
    # -- line 2
    float gate[4]               # exp(mu + margin), mu the learned log of seen over expected: no evidence below
    float bytes_out[4]
    float rate                  # events a second expected at this hour
    float paced                 # the same, as things went in the last hours: what a burst is held against
    float unlearned             # quiet events since the last tick
    uint32_t hot                # signals with evidence after the last event
    float response_mean         # of `response`
    uint16_t pending_trials     # quiet events since the last fold
    uint16_t last_hour          # the last clock hour counted as one the partner calls in, modulo 65,536
    uint8_t flags
    uint8_t level
    uint8_t pin_level
    uint8_t focus               # slot of the endpoint that stood out last
    uint8_t episode             # highest level whose threshold the score crossed in this episode
    uint8_t late_streak
    uint8_t hour_methods        # methods already counted in this clock hour, a bit each
    uint8_t max_action
    # -- line 3
    Moments moments
    Minutes minutes
    # -- six lines of which an event touches one or two
    Endpoint endpoints[ENDPOINTS]
    # -- what not every event touches
    SourceSet sources           # a line and a half
    Mix mix
    uint32_t borrowed           # calls that are among the endpoints' and not among `events`: what the fleet knew
    # -- a line that a call of an endpoint still little known reads, and every fourth quiet one moves
    Welford response            # response bytes: weight, mean, M2
    float request_mean          # EWMA of request bytes
    float within[2]             # variance of latencies and of response sizes within endpoints
    float score
    float nats
    Histogram latency
    MethodSet methods
    float phi[4]                # learned variance of the rate's log
    float counts[COUNTERS][4]   # hits at three half-lives; the fourth lane is the share p0 in force
    Shares shares
    Tails tails
    Jobs jobs
    uint16_t gone               # the part of `rest` that is of endpoints no longer called when they lost it, in 1/65535
    Hours hours
    ObjectIds objects
    float tokens                # how many events may still teach the rate
    float learned               # events that did
    uint32_t rest               # calls of endpoints that lost their slot
    float singles               # endpoints seen once (Good and Turing), fading with the trials
    Why why[WHYS]               # reasons of the level
    uint8_t whys                # how many
    uint8_t cause
    uint8_t name_length
    uint8_t raised              # the day, modulo 256, when the record of a tail last grew
    uint8_t highest             # level since the partner was last at monitor
    uint16_t app                # index into the header's apps
    int64_t first_seen
    int64_t since               # the level was reached, ns
    int64_t fresh_at            # when evidence last supported it, ns: it expires `hold` later
    int64_t below               # the score has been below the level's fall line since, 0: it is not
    int64_t pin_until
    uint64_t todo               # posted records taken from the word, still to be applied
    uint64_t candidate          # the word from which they are about to be taken
    uint64_t applying           # the record at work, for who takes over from a dead process
    uint32_t evident            # s: since when the score is not 0
    uint32_t excused            # signals that a person called a false alarm, a bit each
    uint32_t excused_until      # s
    uint32_t expected_until     # s: more calls were announced
    float expected_rate         # times the usual; 0: nothing was
    uint8_t user[20]            # state of the user's own signals
    char name[64]
