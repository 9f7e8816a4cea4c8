/* Many datagrams with one system call: recvmmsg, which has no declaration in Cython. */

#ifndef ZT_DATAGRAMS_H
#define ZT_DATAGRAMS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define ZT_AT_ONCE 64

#define zt_bswap64(x) __builtin_bswap64(x)

struct zt_turn {
    struct mmsghdr message[ZT_AT_ONCE];
    struct iovec place[ZT_AT_ONCE];
};

static inline void turn_make(struct zt_turn *turn, unsigned char *buffers, size_t stride, size_t size)
{
    int i;
    memset(turn, 0, sizeof(*turn));
    for (i = 0; i < ZT_AT_ONCE; i++) {
        turn->place[i].iov_base = buffers + (size_t)i * stride;
        turn->place[i].iov_len = size;
        turn->message[i].msg_hdr.msg_iov = &turn->place[i];
        turn->message[i].msg_hdr.msg_iovlen = 1;
    }
}

static inline int turn_receive(struct zt_turn *turn, int socket)
{
    return recvmmsg(socket, turn->message, ZT_AT_ONCE, MSG_DONTWAIT, NULL);
}

static inline size_t turn_size(const struct zt_turn *turn, int i) { return turn->message[i].msg_len; }

static inline int turn_wait(int socket, int bell)
{
    struct pollfd two[2] = {{socket, POLLIN, 0}, {bell, POLLIN, 0}};
    poll(two, 2, -1);
    return two[1].revents != 0;
}

#endif
