# Names as Python code gives them to the keys, rows and endpoints they stand for. Names seen before are found by their
# addresses (identity.pxd); reading them anew happens once a name.

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint64_t

from ztcore.admit cimport app_index
from ztcore.arguments cimport Text, text_of
from ztcore.atomic cimport zt_likely
from ztcore.core cimport Core
from ztcore.event cimport EVENT_SUSPICIOUS, Event
from ztcore.identity cimport (CachedApp, CachedEndpoint, CachedPartner, identity_app, identity_endpoint, identity_endpoints,
                              identity_in, identity_keep_app, identity_keep_endpoint, identity_keep_partner, identity_partner,
                              identity_partners)
from ztcore.keys cimport app_hash, app_key, partner_key
from ztcore.paths cimport PATH_HAS_ID, PATH_SUSPICIOUS, Path, method_index, path_parse
from ztcore.table cimport table_find

cdef extern from "Python.h":
    object PyUnicode_FromObject(object text)

cdef inline CachedApp *app_of(Core self, object app) except NULL:
    """The application's keys; looked up by identity first."""
    cdef CachedApp *entry = identity_app(identity_in(&self.identity), <PyObject *>app)
    cdef Text text
    if entry.text == <PyObject *>app:
        return entry
    alive = text_of(app, "app", &text)
    entry.hash = app_hash(&self.key, text.data, text.size)
    app_key(&self.key, entry.hash, &entry.key)
    entry.index = app_index(&self.table, entry.hash, text.data, text.size)
    plain = PyUnicode_FromObject(app)
    identity_keep_app(entry, <PyObject *>plain)
    return entry

cdef inline object partner_of(Core self, object partner, object app, CachedApp **entry, Text *text, uint64_t *key):
    """The partner's key, 0 for an empty name. Returns what keeps `text` alive."""
    entry[0] = app_of(self, app)
    alive = text_of(partner, "partner", text)
    key[0] = partner_key(&entry[0].key, text.data, text.size) if text.size else 0
    return alive

cdef inline CachedPartner *partner_new(Core self, CachedPartner *two, object partner, object app) except NULL:
    """Of a pair of names that is not in `two`: by the names themselves, which are remembered. Of a subclass of str a plain
    copy is: the object itself could refer back to this one."""
    cdef CachedPartner new
    cdef CachedApp *at
    cdef Text text
    partner_of(self, partner, app, &at, &text, &new.key)
    new.row = table_find(&self.table, new.key) if new.key else NULL
    plain_partner = PyUnicode_FromObject(partner)
    plain_app = PyUnicode_FromObject(app)
    new.partner = <PyObject *>plain_partner
    new.app = <PyObject *>plain_app
    identity_keep_partner(two, &new)
    return two

cdef inline CachedPartner *partner_at(Core self, object partner, object app) except NULL:
    """The key of a pair of names and where its row was; looked up by identity first."""
    cdef CachedPartner *two = identity_partners(identity_in(&self.identity), <PyObject *>partner, <PyObject *>app)
    cdef CachedPartner *found = identity_partner(two, <PyObject *>partner, <PyObject *>app)
    return found if zt_likely(found != NULL) else partner_new(self, two, partner, app)

cdef inline int endpoint_new(Core self, Event *e, CachedEndpoint *two, object endpoint, object method) except -1:
    """Of an endpoint that is not in `two`: by reading the path; one without an id is remembered."""
    cdef CachedEndpoint new
    cdef Text text
    cdef Path path
    alive_method = text_of(method, "method", &text)
    e.method = <uint8_t>method_index(text.data, text.size)
    alive = text_of(endpoint, "endpoint", &text)
    path_parse(&self.key, text.data, text.size, e.method, True, &path)
    e.endpoint = path.endpoint
    e.object_id = path.object_id
    if path.flags & PATH_SUSPICIOUS:
        e.flags |= EVENT_SUSPICIOUS
    if path.flags & (PATH_HAS_ID | PATH_SUSPICIOUS) == 0:
        plain = PyUnicode_FromObject(endpoint)
        plain_method = PyUnicode_FromObject(method)
        new.text = <PyObject *>plain
        new.method = <PyObject *>plain_method
        new.endpoint = path.endpoint
        new.index = e.method
        identity_keep_endpoint(two, &new)
    return 0

cdef inline int endpoint_at(Core self, Event *e, object endpoint, object method) except -1:
    """Method, endpoint, object id and patterns; looked up by identity first."""
    cdef CachedEndpoint *two = identity_endpoints(identity_in(&self.identity), <PyObject *>endpoint, <PyObject *>method)
    cdef CachedEndpoint *found = identity_endpoint(two, <PyObject *>endpoint, <PyObject *>method)
    if zt_likely(found != NULL):
        e.endpoint = found.endpoint
        e.method = <uint8_t>found.index
        return 0
    return endpoint_new(self, e, two, endpoint, method)

cdef inline int path_look(Core self, Event *e, object path) except -1:
    """Object id and patterns of a raw path whose endpoint is known."""
    cdef Text text
    cdef Path found
    alive = text_of(path, "path", &text)
    path_parse(&self.key, text.data, text.size, e.method, True, &found)
    e.object_id = found.object_id
    if found.flags & PATH_SUSPICIOUS:
        e.flags |= EVENT_SUSPICIOUS
    return 0
