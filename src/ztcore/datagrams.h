/* Many datagrams with one system call: recvmmsg, which has no declaration in Cython. Those that were sent together
 * (UDP_SEGMENT), or came so over the network, lie behind each other in one message where the socket has UDP_GRO. */

#ifndef ZT_DATAGRAMS_H
#define ZT_DATAGRAMS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define ZT_AT_ONCE 64
#define ZT_SOL_UDP 17
#define ZT_UDP_GRO 104

#define zt_bswap64(x) __builtin_bswap64(x)

struct zt_turn {
    struct mmsghdr message[ZT_AT_ONCE];
    struct iovec place[ZT_AT_ONCE];
    union {
        struct cmsghdr head; /* for its alignment */
        char room[CMSG_SPACE(sizeof(int))];
    } control[ZT_AT_ONCE];
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
    int i;
    for (i = 0; i < ZT_AT_ONCE; i++) { /* the kernel wrote there how much it used */
        turn->message[i].msg_hdr.msg_control = turn->control[i].room;
        turn->message[i].msg_hdr.msg_controllen = sizeof(turn->control[i].room);
    }
    return recvmmsg(socket, turn->message, ZT_AT_ONCE, MSG_DONTWAIT, NULL);
}

static inline size_t turn_size(const struct zt_turn *turn, int i) { return turn->message[i].msg_len; }

/* Bytes of each datagram in it; the last one may have fewer. */
static inline size_t turn_step(const struct zt_turn *turn, int i)
{
    const struct msghdr *message = &turn->message[i].msg_hdr;
    const struct cmsghdr *c = CMSG_FIRSTHDR(message);
    int step = 0;
    if (c != NULL && c->cmsg_level == ZT_SOL_UDP && c->cmsg_type == ZT_UDP_GRO && c->cmsg_len >= CMSG_LEN(sizeof(int)))
        memcpy(&step, CMSG_DATA(c), sizeof(int));
    return step > 0 ? (size_t)step : turn->message[i].msg_len;
}

static inline int turn_wait(int socket, int bell)
{
    struct pollfd two[2] = {{socket, POLLIN, 0}, {bell, POLLIN, 0}};
    poll(two, 2, -1);
    return two[1].revents != 0;
}

#endif
