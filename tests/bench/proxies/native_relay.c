/* A measurement, not a gateway: how cheap could the steady state be without an interpreter in it?
 *
 * Threads of epoll loops relay between clients and PostgreSQL. Of what the gateway does per statement this does what costs time:
 * it walks the messages of both sides, makes the key of a text without its integers and looks it up, writes an audit line of the
 * gateway's size for each statement and each result (one write(2) per turn of the loop, before the statements leave), counts
 * rows and bytes, and keeps a slow reader from filling memory. It does not do what happens once: logins pass through untouched,
 * and an unknown text is taken as allowed where the gateway would judge it.
 *
 * usage: native_relay PORT UPSTREAM_ADDRESS UPSTREAM_PORT AUDIT_FILE THREADS        (IPv4)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 65536, HEADER = 5, EVENTS = 128, SLOTS = 4096, LONGEST_KEY = 4096, AUDIT_ROOM = 1 << 20 };

struct end;
struct session {
  struct end *client, *upstream;
  uint64_t number, statements, rows, bytes, began;
  int steady; /* a first ReadyForQuery went to the client */
  int closed;
  struct session *next_closed;
};
struct end { /* one socket, and what still has to be written to it */
  int fd, is_client, waits;
  struct session *session;
  unsigned char *pending;
  size_t pending_size, partial; /* partial: bytes of an unfinished message that are still to come */
  unsigned char head[5];        /* the beginning of a header that a chunk cut off */
  size_t head_size;
};
struct known { /* a text that was judged before */
  unsigned char key[LONGEST_KEY];
  size_t size;
  uint64_t hash;
};
struct loop {
  int epoll, listener, audit;
  uint64_t sequence, sessions;
  struct known *table[SLOTS];
  unsigned char *lines;
  size_t lines_size;
  struct session *closed;
};

static struct sockaddr_in upstream_address;
static int port, threads;
static const char *audit_path;

static uint64_t microseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint32_t be32(const unsigned char *at) { return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]; }

static void must(int fine, const char *what) {
  if (!fine) { perror(what); exit(1); }
}

/* The key: the text, each run of digits that is no part of a word replaced by one byte. Returns its size. */
static size_t key_of(const unsigned char *text, size_t size, unsigned char *key, uint64_t *hash) {
  size_t out = 0;
  uint64_t mixed = 0xcbf29ce484222325u;
  int in_word = 0;
  if (size > LONGEST_KEY) size = LONGEST_KEY;
  for (size_t at = 0; at < size; at++) {
    unsigned char c = text[at];
    if (!in_word && c >= '0' && c <= '9') {
      while (at + 1 < size && text[at + 1] >= '0' && text[at + 1] <= '9') at++;
      c = 1;
    } else {
      in_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 128 || (in_word && c >= '0' && c <= '9');
    }
    key[out++] = c;
    mixed = (mixed ^ c) * 0x100000001b3u;
  }
  *hash = mixed;
  return out;
}

static void look_up(struct loop *loop, const unsigned char *text, size_t size) {
  unsigned char key[LONGEST_KEY];
  uint64_t hash;
  size_t key_size = key_of(text, size, key, &hash);
  struct known **slot = &loop->table[hash % SLOTS];
  if (*slot && (*slot)->hash == hash && (*slot)->size == key_size && memcmp((*slot)->key, key, key_size) == 0) return;
  if (!*slot) *slot = malloc(sizeof **slot);
  (*slot)->hash = hash;
  (*slot)->size = key_size;
  memcpy((*slot)->key, key, key_size);
}

static void write_lines(struct loop *loop) {
  for (size_t done = 0; done < loop->lines_size;) {
    ssize_t written = write(loop->audit, loop->lines + done, loop->lines_size - done);
    must(written > 0, "audit");
    done += (size_t)written;
  }
  loop->lines_size = 0;
}

static void record(struct loop *loop, struct session *session, const char *event, const unsigned char *text, size_t size) {
  if (loop->lines_size + 1024 + size > AUDIT_ROOM) write_lines(loop);
  uint64_t now = microseconds(CLOCK_REALTIME), mono = microseconds(CLOCK_MONOTONIC);
  int head = sprintf((char *)loop->lines + loop->lines_size,
    "{\"at\":\"%llu.%06lluZ\",\"mono\":%llu,\"worker\":1,\"seq\":%llu,\"session\":\"%016llx\",\"user\":\"reader\",\"target\":\"bench\","
    "\"address\":\"127.0.0.1\",\"mode\":\"read_only\",\"event\":\"%s\",\"statement\":%llu,\"rows\":%llu,\"bytes\":%llu,\"took_us\":%llu,"
    "\"verdict\":\"allowed\",\"kind\":\"select\",\"revision\":17,\"parameters\":0,\"truncated\":false,\"redacted\":false,\"text\":\"",
    (unsigned long long)(now / 1000000), (unsigned long long)(now % 1000000), (unsigned long long)mono,
    (unsigned long long)++loop->sequence, (unsigned long long)session->number, event,
    (unsigned long long)session->statements, (unsigned long long)session->rows, (unsigned long long)session->bytes,
    (unsigned long long)(mono - session->began));
  loop->lines_size += (size_t)head;
  memcpy(loop->lines + loop->lines_size, text, size);
  loop->lines_size += size;
  memcpy(loop->lines + loop->lines_size, "\"}\n", 3);
  loop->lines_size += 3;
}

/* Look at each message that begins in the chunk. One that the chunk cuts off is counted, but its text goes unseen, which a
 * measurement of short statements can bear. */
static void walk(struct loop *loop, struct end *from, const unsigned char *data, size_t size) {
  struct session *session = from->session;
  size_t at = from->partial;
  if (from->head_size) {
    size_t had = from->head_size;
    while (from->head_size < HEADER && from->head_size - had < size) {
      from->head[from->head_size] = data[from->head_size - had];
      from->head_size++;
    }
    if (from->head_size < HEADER) return;
    if (!from->is_client && from->head[0] == 'D') session->rows++;
    if (!from->is_client && from->head[0] == 'C') record(loop, session, "statement_end", (const unsigned char *)"", 0);
    at = 1 + (size_t)be32(from->head + 1) - had;
    from->head_size = 0;
  }
  while (at + HEADER <= size) {
    unsigned char type = data[at];
    size_t whole = 1 + (size_t)be32(data + at + 1);
    if (from->is_client) {
      if ((type == 'Q' || type == 'P' || type == 'E') && at + whole <= size) {
        const unsigned char *text = data + at + HEADER;
        if (type == 'P') text += strlen((const char *)text) + 1;
        size_t text_size = type == 'E' ? 0 : strlen((const char *)text);
        if (type != 'E') look_up(loop, text, text_size);
        session->statements++;
        session->rows = session->bytes = 0;
        session->began = microseconds(CLOCK_MONOTONIC);
        if (type != 'P') record(loop, session, "statement_start", text, text_size);
      }
    } else {
      if (type == 'D') session->rows++;
      session->bytes += whole;
      if (type == 'C') record(loop, session, "statement_end", (const unsigned char *)"", 0);
      if (type == 'Z') session->steady = 1;
    }
    at += whole;
  }
  from->partial = at > size ? at - size : 0;
  if (at < size) memcpy(from->head, data + at, from->head_size = size - at);
}

static void watch(struct loop *loop, struct end *end, int reads) {
  struct epoll_event event = {.events = (reads ? EPOLLIN : 0u) | (end->pending_size ? EPOLLOUT : 0u), .data.ptr = end};
  epoll_ctl(loop->epoll, EPOLL_CTL_MOD, end->fd, &event);
}

static struct end *other(struct end *end) { return end->is_client ? end->session->upstream : end->session->client; }

static void close_session(struct loop *loop, struct session *session) {
  if (session->closed) return;
  session->closed = 1;
  close(session->client->fd);
  close(session->upstream->fd);
  session->next_closed = loop->closed;
  loop->closed = session;
}

static void send_on(struct loop *loop, struct end *to, const unsigned char *data, size_t size) {
  ssize_t sent = to->pending_size ? 0 : send(to->fd, data, size, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) { close_session(loop, to->session); return; }
  if (sent < 0) sent = 0;
  if ((size_t)sent == size) return;
  to->pending = realloc(to->pending, to->pending_size + size - (size_t)sent);
  memcpy(to->pending + to->pending_size, data + sent, size - (size_t)sent);
  to->pending_size += size - (size_t)sent;
  other(to)->waits = 1;
  watch(loop, to, !to->waits);
  watch(loop, other(to), 0);
}

static void writable(struct loop *loop, struct end *to) {
  ssize_t sent = send(to->fd, to->pending, to->pending_size, MSG_NOSIGNAL);
  if (sent < 0) { if (errno != EAGAIN) close_session(loop, to->session); return; }
  memmove(to->pending, to->pending + sent, to->pending_size - (size_t)sent);
  to->pending_size -= (size_t)sent;
  if (to->pending_size) return;
  other(to)->waits = 0;
  watch(loop, to, !to->waits);
  watch(loop, other(to), 1);
}

static struct end *new_end(struct loop *loop, struct session *session, int fd, int is_client) {
  struct end *end = calloc(1, sizeof *end);
  int on = 1;
  end->fd = fd;
  end->session = session;
  end->is_client = is_client;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
  epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event);
  return end;
}

static void welcome(struct loop *loop) {
  int client = accept(loop->listener, NULL, NULL), upstream;
  if (client < 0) return;
  upstream = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(upstream, (struct sockaddr *)&upstream_address, sizeof upstream_address) < 0) { close(client); close(upstream); return; }
  struct session *session = calloc(1, sizeof *session);
  session->number = ++loop->sessions;
  session->client = new_end(loop, session, client, 1);
  session->upstream = new_end(loop, session, upstream, 0);
}

/* Login bytes pass as they are, until the server said that it is ready. Its answer to the start-up packet comes in messages. */
static void seen(struct loop *loop, struct end *from, const unsigned char *data, size_t size) {
  if (from->is_client && !from->session->steady) return;
  walk(loop, from, data, size);
}

static void *run(void *unused) {
  struct loop *loop = calloc(1, sizeof *loop);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct epoll_event events[EVENTS], first = {.events = EPOLLIN, .data.ptr = NULL};
  unsigned char *chunks[EVENTS];
  ssize_t sizes[EVENTS];
  int on = 1;
  (void)unused;
  loop->lines = malloc(AUDIT_ROOM);
  for (int each = 0; each < EVENTS; each++) chunks[each] = malloc(CHUNK);
  loop->audit = open(audit_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  must(loop->audit >= 0, audit_path);
  loop->epoll = epoll_create1(0);
  loop->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(loop->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(loop->listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  must(bind(loop->listener, (struct sockaddr *)&here, sizeof here) == 0, "bind");
  must(listen(loop->listener, 1024) == 0, "listen");
  epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->listener, &first);
  for (;;) {
    int count = epoll_wait(loop->epoll, events, EVENTS, -1);
    for (int each = 0; each < count; each++) {
      struct end *end = events[each].data.ptr;
      sizes[each] = -1;
      if (!end || end->session->closed || !(events[each].events & ~EPOLLOUT)) continue;
      sizes[each] = recv(end->fd, chunks[each], CHUNK, 0);
      if (sizes[each] > 0) seen(loop, end, chunks[each], (size_t)sizes[each]);
      else if (sizes[each] == 0 || errno != EAGAIN) close_session(loop, end->session);
    }
    write_lines(loop); /* before anything leaves */
    for (int each = 0; each < count; each++) {
      struct end *end = events[each].data.ptr;
      if (!end) { welcome(loop); continue; }
      if (end->session->closed) continue;
      if (sizes[each] > 0) send_on(loop, other(end), chunks[each], (size_t)sizes[each]);
      if (!end->session->closed && events[each].events & EPOLLOUT && end->pending_size) writable(loop, end);
    }
    for (struct session *session = loop->closed, *next; session; session = next) {
      next = session->next_closed;
      free(session->client->pending);
      free(session->upstream->pending);
      free(session->client);
      free(session->upstream);
      free(session);
    }
    loop->closed = NULL;
  }
  return NULL;
}

int main(int count, char **words) {
  pthread_t thread;
  if (count != 6) return 2;
  port = atoi(words[1]);
  upstream_address.sin_family = AF_INET;
  must(inet_pton(AF_INET, words[2], &upstream_address.sin_addr) == 1, words[2]);
  upstream_address.sin_port = htons((uint16_t)atoi(words[3]));
  audit_path = words[4];
  threads = atoi(words[5]);
  for (int each = 1; each < threads; each++) must(pthread_create(&thread, NULL, run, NULL) == 0, "thread");
  run(NULL);
}
