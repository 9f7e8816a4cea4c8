def describe(signal, evidence, k, n, p, half_life):
    return (signal, evidence, k, n, p, half_life)
