# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The usual request and its usual reply, from socket to socket without a step of Python's interpreter.

There is no pure twin of this class: what it leaves alone, or all of it where it was not built, takes the general way (`live`,
`client_side`, `upstream_side`), which has the rules. Whatever it does take, it treats as that way would: the same audit records
in the journal before the bytes leave, the same state of the session afterwards.

It works from rest to rest: a request is taken only while nothing is owed, held, half read or unwritten (`LiveSession.at_rest`),
and a reply only whole. While a reply is owed the ledger does not know of it yet: `settle` tells it, before anybody else looks.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

from gateway.proxy.audit_journal_c cimport Journal, Outlet
from gateway.proxy.audit_lines_c cimport Stamp
from gateway.session.tally_c cimport Known, Progress, Traffic
from gateway.statements.shape_c cimport MAX_BYTES, put_shape
from gateway.wire.scan cimport be16, be32, put_number, rows_end

from gateway.audit.redaction import may_hold_password
from gateway.session.ledger import BIND, DESCRIBE_ENTRY, EXECUTE, PARSE, QUERY, SYNC_ENTRY, Entry
from gateway.session.names import NOTHING_NAMED

cdef extern from "time.h" nogil:
    ctypedef long time_t
    struct timespec:
        time_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* time)

cdef enum Owed:
    NOTHING
    OF_QUERY
    OF_BOUND  # a Bind to a known statement, with its Execute and Sync
    OF_PARSED  # the same behind the Parse of a known text as the unnamed statement

cdef enum:
    HEADER = 5
    READY = 6  # the size of a ReadyForQuery
    NUMBERS = 260  # bytes that are enough for the numbers and names in a record

cdef bytes OF_STATEMENT_QUERY = b'"event":"statement","phase":"query",'
cdef bytes OF_STATEMENT_PARSE = b'"event":"statement","phase":"parse",'
cdef bytes OF_STATEMENT_EXECUTE = b'"event":"statement","phase":"execute",'
cdef bytes EXECUTE_SYNC = b"E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04"
cdef bytes DESCRIBE_EXECUTE_SYNC = b"D\0\0\0\x06P\0" + EXECUTE_SYNC
cdef bytes ENDED_WELL = b'"event":"statement_end","outcome":"ok",'
cdef bytes OF_SHAPE = b',"truncated":false,"redacted":false'
cdef bytes IDLE = b"I", IN_TRANSACTION = b"T", UNNAMED = b""


cdef inline long long microseconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <long long>now.tv_sec * 1_000_000 + now.tv_nsec // 1000


cdef inline Py_ssize_t put(unsigned char* out, bytes text) noexcept:
    memcpy(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return PyBytes_GET_SIZE(text)


cdef Py_ssize_t values_end(const unsigned char* data, Py_ssize_t at, Py_ssize_t end, Py_ssize_t count) noexcept nogil:
    """Behind the values and result formats of a Bind; -1: they do not fit."""
    cdef int length
    for _ in range(count):
        if end - at < 4:
            return -1
        length = <int>be32(data + at)
        at += 4
        if length < -1 or length > end - at:
            return -1
        if length > 0:
            at += length
    if end - at < 2:
        return -1
    at += 2 + 2 * <Py_ssize_t>be16(data + at)
    return at if at <= end else -1


cdef class Common:
    """What all sessions of a worker have in common."""

    cdef Outlet trail
    cdef Traffic counters
    cdef Journal journal
    cdef Stamp stamp
    cdef dict unasked  # whose rights are in doubt: nobody takes the short way while there is one

    def __init__(
        self,
        Outlet trail not None,
        Traffic counters not None,
        Journal journal not None,
        Stamp stamp not None,
        dict unasked not None,
    ):
        self.trail = trail
        self.counters = counters
        self.journal = journal
        self.stamp = stamp
        self.unasked = unasked


cdef class Named:
    """The tables of a session's names, which live as long as it does, and the name that was looked up last."""

    cdef dict prepared, prepared_group, prepared_in_flight, portals, portals_group
    cdef bytes last


cdef class Steady:
    # An idle session keeps this, too: each field counts.
    cdef object session, client, upstream, known
    cdef Progress shared
    cdef Common common
    cdef Traffic account
    cdef Known in_force
    cdef Named named
    cdef tuple last_like  # what the last query passed as, by its shape
    cdef long long began, number
    cdef int limit, parameters
    cdef unsigned char owed, at_rest, described

    def __init__(
        self,
        session,
        Progress shared not None,
        Common common not None,
        Traffic account not None,
        client,
        upstream,
    ):
        self.session = session
        self.shared = shared
        self.common = common
        self.account = account
        self.client = client
        self.upstream = upstream
        self.limit = min(0x3FFFFFFE, shared.facts.max_message_bytes)
        self.owed = NOTHING
        self.at_rest = False

    # -- bytes from either side

    def client_data(self, bytes data not None):
        if self.owed == NOTHING and not self.common.unasked and self.request(data):
            self.account.bytes_in += PyBytes_GET_SIZE(data)
            self.common.counters.bytes_in += PyBytes_GET_SIZE(data)
            self.upstream.write(data)
        else:
            self.settle()
            self.session.client_data_at_length(data)

    def upstream_data(self, bytes data not None):
        if self.owed != NOTHING and not self.common.unasked and self.reply(data):
            self.account.bytes_out += PyBytes_GET_SIZE(data)
            self.common.counters.bytes_out += PyBytes_GET_SIZE(data)
            self.client.write(data)
        else:
            self.settle()
            self.session.upstream_data_at_length(data)

    def settle(self):
        """From here on the general way has its turn. What is owed gets into the ledger."""
        self.at_rest = False
        if self.owed == NOTHING:
            return
        queue, seconds = self.shared.ledger.queue, self.began / 1e6
        if self.owed == OF_QUERY:
            statements = 1 if self.known is None else self.known.statements
            queue.append(Entry(QUERY, self.number, seconds, None, UNNAMED, None, statements))
            self.shared.prepared.will_drop(UNNAMED)
        else:
            if self.owed == OF_PARSED:
                queue.append(Entry(PARSE, self.number - 1, seconds, None, UNNAMED, self.known))
                self.shared.prepared.send(UNNAMED, self.known)
            self.shared.portals.send_with_sync(UNNAMED)
            queue.append(Entry(BIND, 0, 0.0, None, UNNAMED, self.known, self.parameters))
            if self.described:
                queue.append(DESCRIBE_ENTRY)
            queue.append(Entry(EXECUTE, self.number, seconds, None, UNNAMED, self.known))
            queue.append(SYNC_ENTRY)
            self.shared.prepared.group_sent()
        self.owed = NOTHING

    cdef bint may_begin(self, bint defines) except -1:
        """`defines`: names get a meaning by it. Most sessions have none, and no dictionaries for them."""
        if not self.at_rest:
            if not self.session.at_rest:
                return False
            self.at_rest = True
            if self.named is None and self.shared.prepared is not NOTHING_NAMED:
                self.find_names()
        if self.common.trail.at_once is None:
            return False
        if defines and self.named is None:
            self.shared.will_define()
            self.find_names()
        if self.shared.in_force is not self.in_force:
            self.in_force = self.shared.in_force
            self.known = self.last_like = None
        return True

    cdef int find_names(self) except -1:
        named = Named()
        named.prepared, named.prepared_group, named.prepared_in_flight = self.shared.prepared.tables
        named.portals, named.portals_group, _ = self.shared.portals.tables
        self.named = named
        return 0

    # -- requests

    cdef bint request(self, bytes data) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(data)
        if size <= HEADER or size > self.limit:
            return False
        if text[0] == b"Q":
            return self.query(text, size)
        if text[0] == b"B":
            return self.bound(text, 0, size, None)
        if text[0] == b"P":
            return self.parsed(text, size)
        return False

    cdef bint query(self, const unsigned char* text, Py_ssize_t size) except -1:
        cdef Py_ssize_t length = size - HEADER - 1
        cdef bytes fragment
        cdef bint by_shape = False
        cdef tuple like
        if length < 0 or be32(text + 1) != size - 1 or text[size - 1] != 0 or not self.may_begin(False):
            return False
        judged = None
        like = self.like_the_last(text + HEADER, length)
        if like is None:
            judged = self.in_force.remembered.get(PyBytes_FromStringAndSize(<const char*>text + HEADER, length))
            like = self.known_like(text + HEADER, length) if judged is None else None
        if judged is not None:
            if not judged.passes:
                return False
            self.last_like = None
            fragment = judged.fragment
        else:
            if like is None or not self.is_itself(text + HEADER, length):
                return False
            fragment = <bytes>like[1]
            by_shape = True
        cdef Py_ssize_t room = PyBytes_GET_SIZE(fragment) + self.session_size() + size + NUMBERS
        cdef long long now = microseconds()
        self.common.stamp.new_second(now)
        cdef unsigned char* out = self.common.journal.room(room + self.common.stamp.room())
        if out == NULL:
            return False
        cdef Py_ssize_t at = self.started(out, now, OF_STATEMENT_QUERY, 0)
        if by_shape:
            at += put(out + at, b'"sql":"')
            memcpy(out + at, text + HEADER, length)
            at += length
            at += put(out + at, b'","sql_bytes":')
            at += put_number(out + at, <unsigned long long>length)
            at += put(out + at, OF_SHAPE)
        at += put(out + at, fragment)
        at += put(out + at, b"}\n")
        self.common.journal.took(at)
        self.known, self.began = judged, now
        self.owed = OF_QUERY
        self.drain_later()
        return True

    cdef tuple like_the_last(self, const unsigned char* text, Py_ssize_t size):
        """As `known_like`, if the last query passed by its shape and this one has the same: no dictionary is asked."""
        cdef unsigned char shape[MAX_BYTES]
        if self.last_like is None or size > self.in_force.shape_bytes:
            return None
        cdef bytes last = <bytes>self.last_like[2]
        cdef Py_ssize_t length = put_shape(shape, text, size)
        if length != PyBytes_GET_SIZE(last) or memcmp(shape, PyBytes_AS_STRING(last), length):
            return None
        return self.last_like

    cdef tuple known_like(self, const unsigned char* text, Py_ssize_t size):
        """What a text of the same shape passed as, and what the audit says of it; None: there is none."""
        cdef unsigned char shape[MAX_BYTES]
        cdef Py_ssize_t length = put_shape(shape, text, size) if size <= self.in_force.shape_bytes else -1
        if length < 0:
            return None
        like = self.in_force.shapes.get(PyBytes_FromStringAndSize(<const char*>shape, length))
        if like is not None:
            self.last_like = like
        return like

    cdef bint is_itself(self, const unsigned char* text, Py_ssize_t size) except -1:
        """Whether the audit would write a text that has a shape as it stands: nothing to escape, no password."""
        if memchr(text, b"\n", size) != NULL or memchr(text, b"\t", size) != NULL:
            return False
        return memchr(text, b"'", size) == NULL or not may_hold_password(PyBytes_FromStringAndSize(<const char*>text, size))

    cdef bint parsed(self, const unsigned char* text, Py_ssize_t size) except -1:
        """Parse of the unnamed statement, which declares no types, and a Bind and so on behind it."""
        cdef Py_ssize_t length = be32(text + 1), sql_size
        if length < 8 or length + 1 > size - HEADER or text[HEADER] != 0:
            return False
        sql_size = length + 1 - HEADER - 4  # but the name's NUL, the text's, and the count of types
        if text[length - 2] != 0 or be16(text + length - 1) != 0 or memchr(text + HEADER + 1, 0, sql_size) != NULL:
            return False
        if not self.may_begin(True):
            return False
        judged = self.in_force.remembered.get(PyBytes_FromStringAndSize(<const char*>text + HEADER + 1, sql_size))
        if judged is None or not judged.passes:
            return False
        return self.bound(text, length + 1, size, judged)

    cdef bint bound(self, const unsigned char* text, Py_ssize_t begin, Py_ssize_t size, object parsed) except -1:
        """Bind of the unnamed portal from `begin` on, to what was `parsed` just before, if anything; with its Execute and Sync."""
        cdef Py_ssize_t at, end, name, left, formats, parameters
        cdef bint described
        if size - begin <= HEADER + 6 or text[begin] != b"B":
            return False
        end = begin + 1 + <Py_ssize_t>be32(text + begin + 1)
        if end < begin + HEADER + 6 or end >= size or text[begin + HEADER] != 0:
            return False
        left = size - end
        described = left > PyBytes_GET_SIZE(EXECUTE_SYNC)
        tail = DESCRIBE_EXECUTE_SYNC if described else EXECUTE_SYNC
        if left != PyBytes_GET_SIZE(tail) or memcmp(text + end, PyBytes_AS_STRING(tail), left):
            return False
        name = begin + HEADER + 1
        cdef const unsigned char* nul = <const unsigned char*>memchr(text + name, 0, end - name)
        if nul == NULL:
            return False
        at = nul - text + 1
        if end - at < 4:
            return False
        formats = be16(text + at)
        at += 2 + 2 * formats
        if end - at < 2:
            return False
        parameters = be16(text + at)
        if (formats > 1 and formats != parameters) or values_end(text, at + 2, end, parameters) != end:
            return False
        if not self.may_begin(True):
            return False
        judged = parsed
        if judged is None:
            judged = self.statement(text + name, nul - text - name)
        elif nul - text != name:
            return False
        if judged is None:
            return False
        cdef bytes fragment = judged.fragment
        cdef long long now = microseconds()
        self.common.stamp.new_second(now)
        cdef Py_ssize_t room = PyBytes_GET_SIZE(fragment) + self.session_size() + self.common.stamp.room() + NUMBERS
        cdef unsigned char* out = self.common.journal.room(2 * room)
        if out == NULL:
            return False
        at = 0
        if parsed is not None:
            at = self.started(out, now, OF_STATEMENT_PARSE, 0)
            at += put(out + at, fragment)
            at += put(out + at, b"}\n")
        at += self.started(out + at, now, OF_STATEMENT_EXECUTE, parameters)
        at += put(out + at, fragment)
        at += put(out + at, b"}\n")
        self.common.journal.took(at)
        self.known, self.parameters, self.described, self.began = judged, parameters, described, now
        self.owed = OF_BOUND if parsed is None else OF_PARSED
        self.drain_later()
        return True

    cdef object statement(self, const unsigned char* name, Py_ssize_t size):
        """What this name stands for, if that may run as it is; else None."""
        cdef Named named = self.named
        if named.last is None or PyBytes_GET_SIZE(named.last) != size or memcmp(PyBytes_AS_STRING(named.last), name, size):
            named.last = PyBytes_FromStringAndSize(<const char*>name, size)
        if named.last in named.prepared_group or named.last in named.prepared_in_flight:
            return None
        judged = named.prepared.get(named.last)
        if judged is None or not judged.passes or judged.policy is not (<object>self.in_force).policy:
            return None
        return judged

    cdef Py_ssize_t session_size(self):
        """Of what every record of a request has of the session."""
        return PyBytes_GET_SIZE(self.shared.short) + PyBytes_GET_SIZE(self.shared.rest)

    cdef Py_ssize_t started(self, unsigned char* out, long long now, bytes head, Py_ssize_t parameters) except -1:
        """As `Conversation.started`: all of the line up to the statement's own fragment."""
        cdef Py_ssize_t at = self.common.stamp.put(out, now)
        self.shared.tally.statements += 1
        self.shared.statements += 1
        self.number = self.shared.statements
        at += put(out + at, head)
        at += put(out + at, self.shared.short)
        at += put(out + at, self.shared.rest)
        at += put(out + at, b',"statement":')
        at += put_number(out + at, <unsigned long long>self.number)
        at += put(out + at, b',"parameters":')
        at += put_number(out + at, <unsigned long long>parameters)
        out[at] = b","
        return at + 1

    cdef int drain_later(self) except -1:
        if self.common.journal.drained:
            self.common.journal.drained = False
            self.common.trail.drain_later()
        return 0

    # -- replies

    cdef bint reply(self, bytes data) except -1:
        """The whole success of what is owed, up to its ReadyForQuery."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), at = 0, end = size - READY
        cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(data)
        cdef unsigned char status
        if end < HEADER or text[end] != b"Z" or be32(text + end + 1) != 5 or self.common.trail.at_once is None:
            return False
        status = text[size - 1]
        if status != b"I" and status != b"T":
            return False
        if self.owed == OF_PARSED:
            if text[0] != b"1" or be32(text + 1) != 4:
                return False
            at = HEADER
        if self.owed != OF_QUERY:
            if end - at < HEADER or text[at] != b"2" or be32(text + at + 1) != 4:
                return False
            at += HEADER
        if self.owed == OF_QUERY or self.described:
            if end - at < HEADER:
                return False
            if text[at] == b"T" and be32(text + at + 1) >= 4:
                at += 1 + <Py_ssize_t>be32(text + at + 1)
            elif self.owed != OF_QUERY:
                return False
        at = rows_end(text, at, end)
        if end - at < HEADER + 1 or text[at] != b"C" or at + 1 + <Py_ssize_t>be32(text + at + 1) != end:
            return False
        if not self.ended(text, at + HEADER, end - 1):
            return False
        self.over(status == b"I")
        return True

    cdef bint ended(self, const unsigned char* text, Py_ssize_t tag, Py_ssize_t nul) except -1:
        """The record of the end of what was owed. False: there is no room for it."""
        cdef Py_ssize_t at, digits = nul
        cdef long long now = microseconds()
        self.common.stamp.new_second(now)
        cdef unsigned char* out = self.common.journal.room(
            PyBytes_GET_SIZE(ENDED_WELL) + PyBytes_GET_SIZE(self.shared.short) + self.common.stamp.room() + NUMBERS
        )
        if out == NULL:
            return False
        at = self.common.stamp.put(out, now)
        at += put(out + at, ENDED_WELL)
        at += put(out + at, self.shared.short)
        at += put(out + at, b',"statement":')
        at += put_number(out + at, <unsigned long long>self.number)
        at += put(out + at, b',"duration_us":')
        at += put_number(out + at, <unsigned long long>(now - self.began))
        while digits > tag and b"0" <= text[digits - 1] <= b"9":
            digits -= 1
        if digits < nul <= digits + 20 and (digits == tag or text[digits - 1] == b" "):
            at += put(out + at, b',"rows":')
            while digits < nul - 1 and text[digits] == b"0":
                digits += 1
            memcpy(out + at, text + digits, nul - digits)
            at += nul - digits
        at += put(out + at, b"}\n")
        self.common.journal.took(at)
        self.drain_later()
        return True

    cdef int over(self, bint idle) except -1:
        """The session's state as if all had gone the general way."""
        cdef Named named = self.named
        self.shared.status = IDLE if idle else IN_TRANSACTION
        if named is None:  # nor is a portal
            self.owed = NOTHING
            return 0
        if self.owed == OF_QUERY:
            if named.prepared or named.prepared_in_flight or named.prepared_group:
                named.prepared_group[UNNAMED] = None
                named.prepared.pop(UNNAMED, None)
        else:
            if named.prepared_group:
                named.prepared_group.clear()
            if named.portals_group:
                named.portals_group.clear()
            if self.owed == OF_PARSED:
                named.prepared[UNNAMED] = self.known
            if not idle:
                named.portals[UNNAMED] = Entry(BIND, 0, 0.0, None, UNNAMED, self.known, self.parameters)
        if idle and named.portals:
            named.portals.clear()
        self.owed = NOTHING
        return 0
