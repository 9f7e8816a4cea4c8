/* What each byte of a path or query means to the scanner in paths.pxd. */
#ifndef ZT_PATHS_H
#define ZT_PATHS_H

#define BYTE_STOP 1     /* ends a plain segment, or makes it one that needs a closer look */
#define BYTE_DIGIT 2
#define BYTE_LETTER 4   /* ASCII letters and all of UTF-8 beyond ASCII */
#define BYTE_OTHER 8
#define BYTE_AT 16
#define BYTE_TRIGGER 32 /* no suspicious pattern without one of these */
#define BYTE_QUERY 64   /* a trigger in the query, ordinary in a path */

#define S BYTE_STOP
#define ST (BYTE_STOP | BYTE_TRIGGER)
#define SQ (BYTE_STOP | BYTE_QUERY)
#define D BYTE_DIGIT
#define L BYTE_LETTER
#define LT (BYTE_LETTER | BYTE_TRIGGER)
#define O BYTE_OTHER
#define OA (BYTE_OTHER | BYTE_AT)
#define OT (BYTE_OTHER | BYTE_TRIGGER)
#define OQ (BYTE_OTHER | BYTE_QUERY)

static const unsigned char byte_class[256] = {
    OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT,
    OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT,
    /* space ! " # $ % & ' ( ) * + , - . / */
    OT, O, OT, S, OT, ST, O, OT, OT, O, OT, OT, O, O, O, SQ,
    /* 0-9 : ; < = > ? */
    D, D, D, D, D, D, D, D, D, D, OQ, ST, ST, O, O, S,
    /* @ A-O */
    OA, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    /* P-Z [ \ ] ^ _ */
    L, L, L, L, L, L, L, L, L, L, L, O, OT, O, O, O,
    /* ` a-o */
    OT, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    /* p-z { | } ~ delete */
    L, L, L, L, L, L, L, L, L, L, L, S, O, O, O, OT,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    /* c0, c1: never in UTF-8, but in disguised dots and slashes */
    LT, LT, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
};

#undef S
#undef ST
#undef SQ
#undef D
#undef L
#undef LT
#undef O
#undef OA
#undef OT
#undef OQ

#endif
