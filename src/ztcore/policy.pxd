# What people decide: thresholds, ceilings, times, the mode. May change while the table is in use.

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef struct Policy:
    float threshold[5]          # score at which a level begins; [0] unused
    float ceiling_requests      # a minute, 0: unset
    float ceiling_errors        # share, 0: unset
    float ceiling_latency       # mean ms, 0: unset
    uint32_t learning_events
    int64_t learning            # ns
    int64_t burn_in             # ns, before novelty is learned
    int64_t hold[5]             # ns a level lasts without fresh evidence
    int64_t fall                # ns below the fall line before one level down
    int64_t lateness            # ns
    uint8_t shadow
    uint8_t auto_throttle
    uint8_t kill_switch
    uint8_t patterns
    uint8_t ceilings            # any is set
    uint8_t newcomers_held      # too many rose at once: who reaches throttle from below is not acted on
