/*
 * peer.h - a TLS server in the same process, and the wire between it and the client under test.
 * Nothing sleeps and nothing is sent: bytes are carried by hand, in pieces of any size.
 */
#ifndef WIREPOST_TESTS_TLS_PEER_H
#define WIREPOST_TESTS_TLS_PEER_H

#include "tests/tls/pki.h"

#define PEER_SEEN_MAX 262144u

struct peer_options {
    const struct pki_cert *leaf;
    const struct pki_cert *chain; /* sent behind it; null: none */
    int version_min, version_max; /* 0: all */
    const char *ciphers;          /* of TLS 1.2; null: OpenSSL's */
    bool wants_client_cert;
    bool no_tickets;
    long ticket_life_s; /* 0: OpenSSL's, two hours */
};

struct peer {
    SSL_CTX *context; /* remembers its ticket keys */
    SSL *ssl;
    BIO *in, *out;
    bool established;
    char server_name[TLS_NAME_MAX]; /* what the client asked for */
    uint8_t seen[PEER_SEEN_MAX];    /* plaintext from the client */
    uint32_t seen_len;
};

void peer_init(struct peer *p, const struct peer_options *options);
/* The next connection. */
void peer_accept(struct peer *p);
void peer_free(struct peer *p);
void peer_say(struct peer *p, const char *text);
void peer_say_bytes(struct peer *p, const uint8_t *bytes, uint32_t len);
void peer_close(struct peer *p);

/* What is between the two. Zero: bytes as they are, in pieces as they come. */
struct wire {
    uint32_t piece;    /* bytes given to the client at a time; 0: all */
    uint32_t cut_at;   /* the first piece ends after so many bytes of the server; 0: not */
    uint32_t flip_at;  /* 1 + index of a byte of the server that is spoilt; 0: none */
    uint8_t flip_with; /* XOR */
    uint64_t now_ns;   /* 0: a second */
    uint32_t carried;  /* bytes of the server so far */
    uint8_t plain[PEER_SEEN_MAX]; /* plaintext from the server */
    uint32_t plain_len;
    uint32_t events; /* of the client, all */
};

/* Carries bytes to and fro until neither side has more to say. */
void wire_run(struct wire *w, struct tls_client *c, struct peer *p);
/* From the client to the server only; returns how many bytes. */
uint32_t wire_client_to_peer(struct tls_client *c, struct peer *p);
/* Gives bytes to the client as if they came from the server, in one piece. */
void wire_inject(struct wire *w, struct tls_client *c, const void *bytes, uint32_t len);

#endif
