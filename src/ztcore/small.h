/* An int of one digit (30 bits) without a call: nearly all statuses, sizes and counts are. */
#ifndef ZT_SMALL_H
#define ZT_SMALL_H

static inline int zt_small(PyObject *number, long long *value) {
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)number))
        return 0;
    *value = PyUnstable_Long_CompactValue((PyLongObject *)number);
#else
    Py_ssize_t size = Py_SIZE(number);
    if (size < -1 || size > 1)
        return 0;
    *value = size * (long long)((PyLongObject *)number)->ob_digit[0];
#endif
    return 1;
}

#endif
