# Evidence in nats: how much better "this window has its own share, or rate" explains what was
# seen than "it is the usual one". Lanes are half-lives; counts come forward decayed with the
# weight that brings them to now.


from ztcore.lanes cimport (f4, f4_above, f4_add, f4_all, f4_div, f4_exp2, f4_load, f4_log2, f4_max,
                           f4_min, f4_mul, f4_set, f4_store, f4_sub)

cdef extern from *:
    """
    #define LN2 0.69314718f
    #define EVIDENCE_LEAST 2.0f         /* nats: less is not worth computing exactly */
    #define RATE_MARGIN 0.2f
    #define BYTES_PHI 0.05f           /* beside that of the rate */
    """
    const float LN2
    const float EVIDENCE_LEAST
    const float RATE_MARGIN
    const float BYTES_PHI

cdef inline int share_excess(f4 k, f4 n, f4 w, float p) noexcept nogil:
    """Lanes in which hits can be worth 2 nats: two samples are never worth more than one, and
    n KL(k/n, p) <= (k - np)^2 / (n p (1 - p))."""
    cdef f4 above = f4_sub(k, f4_mul(n, f4_all(p)))
    return f4_above(above, f4_all(0.0)) & f4_above(
        f4_mul(above, above), f4_mul(f4_mul(n, w), f4_all(EVIDENCE_LEAST * p * (1.0 - p))))

cdef inline f4 share_evidence(f4 k, f4 n, f4 w, float p, float m, float m_long) noexcept nogil:
    """Two samples: n KL(k/n, c) + m KL(p, c) with c the pooled share; m_long: at the longest half-life. Counts of more than 65,536
    are scaled down to it: m is at most 3,000, and a float has 24 bits."""
    cdef f4 one = f4_all(1.0), P = f4_all(p), M = f4_set(m, m, m_long, m)
    cdef f4 q = f4_max(f4_min(f4_div(k, n), f4_all(0.999999)), P)    # no evidence below the norm
    cdef f4 N = f4_min(f4_div(n, w), f4_all(65536.0))
    cdef f4 c = f4_div(f4_add(f4_mul(q, N), f4_mul(P, M)), f4_add(N, M))
    cdef f4 log_c = f4_log2(c), log_1c = f4_log2(f4_sub(one, c))
    cdef f4 log_p = f4_log2(P), log_1p = f4_log2(f4_sub(one, P))
    cdef f4 recent = f4_add(f4_mul(q, f4_sub(f4_log2(q), log_c)),
                            f4_mul(f4_sub(one, q), f4_sub(f4_log2(f4_sub(one, q)), log_1c)))
    cdef f4 usual = f4_add(f4_mul(P, f4_sub(log_p, log_c)), f4_mul(f4_sub(one, P), f4_sub(log_1p, log_1c)))
    return f4_mul(f4_all(LN2), f4_add(f4_mul(N, recent), f4_mul(M, usual)))

cdef inline f4 poisson_evidence(f4 seen, f4 expected) noexcept nogil:
    """Poisson exponent: seen ln(seen / expected) - seen + expected; only for seen > expected."""
    return f4_add(f4_sub(f4_mul(f4_mul(seen, f4_all(LN2)), f4_log2(f4_div(seen, expected))), seen), expected)

cdef inline f4 gamma_evidence(f4 r, f4 variance) noexcept nogil:
    """How far up the tail of a gamma distribution of this variance lies e^r times its mean: (e^r - 1 - r) / variance,
    near 0 the r^2 / 2 of a normal logarithm. 0 for r <= 0."""
    cdef f4 x = f4_max(r, f4_all(0.0))
    return f4_div(f4_sub(f4_sub(f4_exp2(f4_mul(x, f4_all(1.442695))), f4_all(1.0)), x), variance)

cdef inline f4 rate_evidence(f4 seen, f4 expected, f4 mu, f4 phi) noexcept nogil:
    """r^2 / (2 (phi + 1 / (expected + 1))) with r = ln((seen + 1) / (expected + 1)) - mu - 0.2,
    never more than the Poisson exponent. Counts as of now, expected at least 0.5."""
    cdef f4 one = f4_all(1.0), zero = f4_all(0.0), e1 = f4_add(expected, one)
    cdef f4 r = f4_sub(f4_sub(f4_mul(f4_all(LN2), f4_log2(f4_div(f4_add(seen, one), e1))), mu), f4_all(RATE_MARGIN))
    cdef f4 v = gamma_evidence(r, f4_add(phi, f4_div(one, e1)))
    return f4_min(v, f4_max(poisson_evidence(f4_max(seen, expected), expected), zero))

cdef inline f4 ramp_evidence(f4 seen, f4 most, f4 phi) noexcept nogil:
    """The rate against the most that the slow reference explains, however far it has drifted from it; at the half-lives of
    half an hour and more."""
    cdef f4 one = f4_all(1.0)
    cdef f4 r = f4_max(f4_mul(f4_all(LN2), f4_log2(f4_div(f4_add(seen, one), f4_add(most, one)))), f4_all(0.0))
    cdef f4 v = gamma_evidence(r, f4_add(phi, f4_div(one, f4_add(most, one))))
    v = f4_min(v, poisson_evidence(f4_max(seen, most), most))
    return f4_mul(v, f4_set(0.0, 0.0, 1.0, 1.0))

cdef inline f4 bytes_evidence(f4 units, f4 expected, f4 growth, float kappa, f4 phi) noexcept nogil:
    """Like the rate, in units of the mean response; kappa = E[y^2] / E[y]^2 is the effective size
    of one. `growth` is exp(max(mu, 0))."""
    cdef f4 K = f4_all(kappa), zero = f4_all(0.0)
    cdef f4 e = f4_add(f4_mul(expected, growth), K)
    cdef f4 r = f4_sub(f4_mul(f4_all(LN2), f4_log2(f4_div(f4_add(units, K), e))), f4_all(RATE_MARGIN))
    r = f4_max(r, zero)
    cdef f4 v = f4_div(f4_mul(f4_mul(r, r), f4_all(0.5)), f4_add(f4_add(phi, f4_all(BYTES_PHI)), f4_div(K, e)))
    cdef f4 seen = f4_div(units, K), usual = f4_div(e, K)
    return f4_min(v, f4_max(poisson_evidence(f4_max(seen, usual), usual), zero))

cdef inline void saturate(float *lanes, f4 v, float most) noexcept nogil:
    """Shrink counts whose evidence is beyond `most`, so that the partner comes back within
    minutes after the end."""
    cdef f4 over = f4_sub(f4_all(1.0), f4_div(f4_all(most), f4_max(v, f4_all(most))))
    cdef f4 keep = f4_sub(f4_all(1.0), f4_mul(f4_all(0.5), f4_mul(over, f4_set(1.0, 1.0, 1.0, 0.0))))
    f4_store(lanes, f4_mul(f4_load(lanes), keep))
