/* The arguments of a call as its caller laid them down, borrowed. Cython's way of taking them owns each for the time
   of the call: for a dozen of them that is more work than a calm event's statistics have additions. */
#ifndef ZT_CALLS_H
#define ZT_CALLS_H

typedef PyObject *(*zt_method)(PyObject *self, PyObject **args, Py_ssize_t n, PyObject *names);

/* Argument i of `n` positional ones, or what stands for it. A choice of the address, so that none is read that is not there. */
static inline PyObject *zt_given(PyObject **args, Py_ssize_t n, int i, PyObject **defaults) {
    return (i < n ? args : defaults)[i];
}

/* Lay `n` positional arguments and those named in `names` into `taken`, over the defaults, NULL where there is none. known:
   the names of all `all` parameters, interned; the first `needed` have no default. 0 where something is unusual: wrong, or a
   name that is not interned. */
static inline int zt_take(PyObject **args, Py_ssize_t n, PyObject *names, PyObject **known, PyObject **defaults, int all,
                          int needed, PyObject **taken) {
    Py_ssize_t j, at = n, named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    int i;
    if (n > all)
        return 0;
    for (i = 0; i < all; i++)
        taken[i] = zt_given(args, n, i, defaults);      /* copying just `n` of them becomes a rep movs, which is slow */
    for (j = 0; j < named; j++, at++) {     /* people keep to the order: the next one is the first guess */
        PyObject *name = PyTuple_GET_ITEM(names, j);
        if (at >= all || known[at] != name) {
            for (at = n; at < all && known[at] != name; at++) {}
            if (at == all)
                return 0;
        }
        taken[at] = args[n + j];
    }
    for (i = 0; i < needed; i++)
        if (taken[i] == NULL)
            return 0;
    return 1;
}

/* Let objects of a type be called by the vectorcallfunc that each has at `offset`: no tuple is made of the arguments. The type is
   the module's own, being made. */
static inline void zt_callable(PyObject *type, Py_ssize_t offset) {
    ((PyTypeObject *)type)->tp_vectorcall_offset = offset;
    ((PyTypeObject *)type)->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    PyType_Modified((PyTypeObject *)type);
}

/* Let `method` answer the calls of type.name from now on. Returns what answered them before, for the unusual ones; NULL
   where the type's method is not of this kind, and nothing was changed. The type is the module's own, being made. */
static inline zt_method zt_answer(PyObject *type, const char *name, zt_method method) {
    PyObject *found = PyObject_GetAttrString(type, name);
    PyMethodDef *definition;
    zt_method before = NULL;
    if (found == NULL)
        return NULL;
    if (Py_IS_TYPE(found, &PyMethodDescr_Type)) {
        definition = ((PyMethodDescrObject *)found)->d_method;
        if (definition->ml_flags == (METH_FASTCALL | METH_KEYWORDS)) {
            before = (zt_method)(void (*)(void))definition->ml_meth;
            definition->ml_meth = (PyCFunction)(void (*)(void))method;
        }
    }
    Py_DECREF(found);
    return before;
}

#endif
