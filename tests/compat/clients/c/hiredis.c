// hiredis against Tidewater: the plain API, replies checked by their type and their text.
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int held, failed;
static redisContext *c;

static void check(int holds, int line, const char *what, const redisReply *r) {
    if (holds) {
        held++;
        return;
    }
    failed++;
    printf("line %d: %s: got type %d, %lld, %.200s%s\n", line, what, r ? r->type : -1, r ? r->integer : 0, r && r->str ? r->str : "",
           c->err ? c->errstr : "");
}

#define OK(holds) check(!!(holds), __LINE__, #holds, NULL)

static redisContext *bare(void) {
    redisContext *made = redisConnectWithTimeout(getenv("TIDEWATER_HOST"), atoi(getenv("TIDEWATER_PORT")), (struct timeval){5, 0});
    if (!made || made->err) {
        printf("no connection: %s\n", made ? made->errstr : "no memory");
        exit(1);
    }
    redisSetTimeout(made, (struct timeval){30, 0});
    return made;
}

static redisContext *other(void) {
    redisContext *made = bare();
    freeReplyObject(redisCommand(made, "AUTH %s", getenv("TIDEWATER_PASSWORD")));
    return made;
}

static void text_of(redisContext *on, int line, int type, const char *wanted, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *r = redisvCommand(on, format, args);
    va_end(args);
    check(r && r->type == type && !strncmp(r->str, wanted, strlen(wanted)), line, format, r);
    freeReplyObject(r);
}

static void integer_of(redisContext *on, int line, long long wanted, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *r = redisvCommand(on, format, args);
    va_end(args);
    check(r && r->type == REDIS_REPLY_INTEGER && r->integer == wanted, line, format, r);
    freeReplyObject(r);
}

// A flat array as one line of words; nested arrays in brackets.
static void spell(char *into, size_t size, const redisReply *r) {
    size_t used = strlen(into);
    if (r->type == REDIS_REPLY_ARRAY) {
        snprintf(into + used, size - used, "[");
        for (size_t i = 0; i < r->elements; i++) spell(into, size, r->element[i]);
        used = strlen(into);
        snprintf(into + used, size - used, "]");
    } else if (r->type == REDIS_REPLY_INTEGER) {
        snprintf(into + used, size - used, " %lld", r->integer);
    } else {
        snprintf(into + used, size - used, " %s", r->type == REDIS_REPLY_NIL ? "nil" : r->str);
    }
}

static void array_of(redisContext *on, int line, const char *wanted, const char *format, ...) {
    char got[4096] = "";
    va_list args;
    va_start(args, format);
    redisReply *r = redisvCommand(on, format, args);
    va_end(args);
    if (r) spell(got, sizeof got, r);
    int same = !strcmp(got, wanted);
    if (!same) printf("wanted %s, got %s\n", wanted, got);
    check(same, line, format, r);
    freeReplyObject(r);
}

#define STATUS(wanted, ...) text_of(c, __LINE__, REDIS_REPLY_STATUS, wanted, __VA_ARGS__)
#define STRING(wanted, ...) text_of(c, __LINE__, REDIS_REPLY_STRING, wanted, __VA_ARGS__)
#define ERROR(wanted, ...) text_of(c, __LINE__, REDIS_REPLY_ERROR, wanted, __VA_ARGS__)
#define INTEGER(wanted, ...) integer_of(c, __LINE__, wanted, __VA_ARGS__)
#define ARRAY(wanted, ...) array_of(c, __LINE__, wanted, __VA_ARGS__)

static int is_nil(const char *command) {
    redisReply *r = redisCommand(c, command);
    int nil = r && r->type == REDIS_REPLY_NIL;
    freeReplyObject(r);
    return nil;
}

static void connecting(void) {
    redisContext *anonymous = bare();
    text_of(anonymous, __LINE__, REDIS_REPLY_ERROR, "NOAUTH", "GET k");
    text_of(anonymous, __LINE__, REDIS_REPLY_ERROR, "WRONGPASS", "AUTH wrong");
    text_of(anonymous, __LINE__, REDIS_REPLY_STATUS, "OK", "AUTH default %s", getenv("TIDEWATER_PASSWORD"));
    text_of(anonymous, __LINE__, REDIS_REPLY_STATUS, "OK", "SELECT 3");
    text_of(anonymous, __LINE__, REDIS_REPLY_STATUS, "OK", "SET k 3");
    redisFree(anonymous);
    OK(is_nil("GET k"));
    STATUS("PONG", "PING");
    STATUS("OK", "CLIENT SETNAME mine");
    STRING("mine", "CLIENT GETNAME");
    STATUS("OK", "CLIENT SETINFO lib-name hiredis");
    redisReply *r = redisCommand(c, "HELLO 2");
    OK(r && r->type == REDIS_REPLY_ARRAY && r->elements == 14);
    freeReplyObject(r);
}

static void types(void) {
    STATUS("OK", "SET s hello");
    INTEGER(11, "APPEND s %s", " world");
    STRING("hello", "GETRANGE s 0 4");
    INTEGER(42, "INCRBY n 42");
    STRING("42.5", "INCRBYFLOAT n 0.5");
    INTEGER(0, "SETBIT b 7 1");
    INTEGER(1, "BITCOUNT b");
    INTEGER(1, "BITOP NOT nb b");
    ARRAY("[ 0 9]", "BITFIELD f SET u8 0 255 INCRBY u8 0 10");
    STATUS("OK", "MSET a 1 bb 2");
    ARRAY("[ 1 nil 2]", "MGET a none bb");
    INTEGER(3, "RPUSH l a b c");
    ARRAY("[ a b c]", "LRANGE l 0 -1");
    STRING("a", "LMOVE l m LEFT RIGHT");
    ARRAY("[ m[ a]]", "LMPOP 1 m LEFT");
    INTEGER(3, "SADD set 1 2 3");
    INTEGER(2, "SADD set2 3 4");
    ARRAY("[ 3]", "SINTER set set2");
    ARRAY("[ 1 0]", "SMISMEMBER set 1 9");
    INTEGER(2, "ZADD z 1 a 2.5 b");
    ARRAY("[ a 1 b 2.5]", "ZRANGE z 0 -1 WITHSCORES");
    STRING("2.75", "ZINCRBY z 0.25 b");
    ARRAY("[ a 1]", "ZPOPMIN z");
    INTEGER(2, "HSET h f v g 1");
    STRING("v", "HGET h f");
    ARRAY("[ v nil]", "HMGET h f none");
    ARRAY("[ 1 -2]", "HEXPIRE h 100 FIELDS 2 f none");
    ARRAY("[ -1]", "HTTL h FIELDS 1 g");
    INTEGER(2, "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania");
    STRING("166.2742", "GEODIST geo Palermo Catania km");
    ARRAY("[ Catania]", "GEOSEARCH geo FROMLONLAT 15 37 BYRADIUS 100 km");
    INTEGER(1, "PFADD p a b c");
    INTEGER(3, "PFCOUNT p");
    STRING("1-1", "XADD x 1-1 n 1");
    STRING("1-2", "XADD x 1-2 n 2");
    STATUS("OK", "XGROUP CREATE x g 0");
    ERROR("BUSYGROUP", "XGROUP CREATE x g 0");
    ARRAY("[[ x[[ 1-1[ n 1]]]]]", "XREADGROUP GROUP g one COUNT 1 STREAMS x >");
    ARRAY("[ 1 1-1 1-1[[ one 1]]]", "XPENDING x g");
    ARRAY("[[ 1-1[ n 1]]]", "XCLAIM x g two 0 1-1");
    INTEGER(1, "XACK x g 1-1");
    INTEGER(1, "XTRIM x MAXLEN 1");
}

static void expiry(void) {
    STATUS("OK", "SET k v EX 100");
    INTEGER(100, "TTL k");
    INTEGER(1, "PEXPIRE k 20");
    for (int i = 0; i < 2000 && !is_nil("GET k"); i++) usleep(5000);
    INTEGER(-2, "TTL k");
}

static void pipelining(void) {
    int right = 0;
    for (int i = 0; i < 10000; i++) {
        redisAppendCommand(c, "SET p:%d %d", i, i);
        redisAppendCommand(c, "INCR p:%d", i);
    }
    for (int i = 0; i < 20000; i++) {
        redisReply *r = NULL;
        if (redisGetReply(c, (void **)&r) == REDIS_OK && r->type == (i % 2 ? REDIS_REPLY_INTEGER : REDIS_REPLY_STATUS))
            right += i % 2 ? r->integer == i / 2 + 1 : 1;
        freeReplyObject(r);
    }
    OK(right == 20000);
}

static void transactions(void) {
    STATUS("OK", "MULTI");
    STATUS("QUEUED", "SET a 1");
    STATUS("QUEUED", "INCR a");
    ARRAY("[ OK 2]", "EXEC");
    redisContext *second = other();
    STATUS("OK", "WATCH a");
    text_of(second, __LINE__, REDIS_REPLY_STATUS, "OK", "SET a 100");
    STATUS("OK", "MULTI");
    STATUS("QUEUED", "SET a 0");
    OK(is_nil("EXEC"));
    STRING("100", "GET a");
    STATUS("OK", "MULTI");
    ERROR("ERR wrong number", "SET a");
    ERROR("EXECABORT", "EXEC");
    redisFree(second);
}

static void subscriptions(void) {
    redisContext *heard = other();
    array_of(heard, __LINE__, "[ subscribe news 1]", "SUBSCRIBE news");
    array_of(heard, __LINE__, "[ psubscribe n* 2]", "PSUBSCRIBE n*");
    array_of(heard, __LINE__, "[ ssubscribe shard 1]", "SSUBSCRIBE shard");
    INTEGER(2, "PUBLISH news hello");
    INTEGER(1, "SPUBLISH shard hi");
    const char *wanted[] = {"[ message news hello]", "[ pmessage n* news hello]", "[ smessage shard hi]"};
    for (int i = 0; i < 3; i++) {
        char got[256] = "";
        redisReply *r = NULL;
        if (redisGetReply(heard, (void **)&r) == REDIS_OK) spell(got, sizeof got, r);
        check(!strcmp(got, wanted[i]), __LINE__, wanted[i], r);
        freeReplyObject(r);
    }
    text_of(heard, __LINE__, REDIS_REPLY_ERROR, "ERR Can't execute 'get'", "GET k");
    redisFree(heard);
}

static void *push_when_blocked(void *command) {
    redisContext *second = other();
    for (int i = 0; i < 2000; i++) {
        redisReply *r = redisCommand(second, "INFO clients");
        int blocked = r && strstr(r->str, "blocked_clients:1\r");
        freeReplyObject(r);
        if (blocked) break;
        usleep(2000);
    }
    freeReplyObject(redisCommand(second, command));
    redisFree(second);
    return NULL;
}

static void blocking(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, push_when_blocked, "RPUSH q v");
    ARRAY("[ q v]", "BLPOP none q 20");
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, push_when_blocked, "ZADD bz 1.5 m");
    ARRAY("[ bz m 1.5]", "BZPOPMIN bz 20");
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, push_when_blocked, "XADD bx 5-5 a 1");
    ARRAY("[[ bx[[ 5-5[ a 1]]]]]", "XREAD BLOCK 20000 STREAMS bx $");
    pthread_join(thread, NULL);
    OK(is_nil("BRPOP none 0.1"));
}

// How many elements a whole iteration gives; step is 2 where a page holds pairs.
static size_t scanned(const char *command, int step) {
    char cursor[32] = "0";
    size_t seen = 0;
    do {
        char line[128];
        snprintf(line, sizeof line, command, cursor);
        redisReply *r = redisCommand(c, line);
        if (!r || r->type != REDIS_REPLY_ARRAY) return 0;
        snprintf(cursor, sizeof cursor, "%s", r->element[0]->str);
        seen += r->element[1]->elements / step;
        freeReplyObject(r);
    } while (strcmp(cursor, "0"));
    return seen;
}

static void iteration(void) {
    for (int i = 0; i < 3000; i++) {
        redisAppendCommand(c, "SET key:%d %d", i, i);
        redisAppendCommand(c, "HSET it:h f%d v", i);
        redisAppendCommand(c, "SADD it:s %d", i);
        redisAppendCommand(c, "ZADD it:z %d m%d", i, i);
    }
    for (int i = 0; i < 12000; i++) {
        redisReply *r = NULL;
        redisGetReply(c, (void **)&r);
        freeReplyObject(r);
    }
    OK(scanned("SCAN %s MATCH key:* COUNT 100", 1) == 3000);
    OK(scanned("HSCAN it:h %s", 2) == 3000);
    OK(scanned("SSCAN it:s %s", 1) == 3000);
    OK(scanned("ZSCAN it:z %s MATCH m1*", 2) == 1111);
}

static void big_and_binary(void) {
    size_t size = 20000000;
    char *big = malloc(size);
    for (size_t i = 0; i < size; i++) big[i] = (char)(i * 7 + i / 251);
    STATUS("OK", "SET big %b", big, size);
    redisReply *r = redisCommand(c, "GET big");
    OK(r && (size_t)r->len == size && !memcmp(r->str, big, size));
    freeReplyObject(r);
    STATUS("OK", "SET %b %b", big, (size_t)256, big, (size_t)512);
    r = redisCommand(c, "GET %b", big, (size_t)256);
    OK(r && r->len == 512 && !memcmp(r->str, big, 512));
    freeReplyObject(r);
    const char *words[] = {"SET", "empty\0key", ""};
    size_t lengths[] = {3, 9, 0};
    r = redisCommandArgv(c, 3, words, lengths);
    OK(r && r->type == REDIS_REPLY_STATUS);
    freeReplyObject(r);
    free(big);
}

static void errors(void) {
    INTEGER(1, "RPUSH errors:l 1");
    ERROR("WRONGTYPE", "GET errors:l");
    ERROR("ERR unknown command 'NOSUCH'", "NOSUCH x");
    ERROR("ERR wrong number of arguments for 'get' command", "GET");
    ERROR("ERR no such key", "RENAME none x");
}

static void reconnecting(void) {
    redisContext *second = other();
    redisReply *r = redisCommand(c, "CLIENT ID");
    integer_of(second, __LINE__, 1, "CLIENT KILL ID %lld", r->integer);
    freeReplyObject(r);
    r = redisCommand(c, "PING");
    OK(!r && c->err);
    freeReplyObject(r);
    OK(redisReconnect(c) == REDIS_OK);
    STATUS("OK", "AUTH %s", getenv("TIDEWATER_PASSWORD"));
    STATUS("PONG", "PING");
    redisFree(second);
}

static void server(void) {
    STRING("# Server", "INFO server");
    ARRAY("[ maxmemory-policy noeviction]", "CONFIG GET maxmemory-policy");
    STATUS("OK", "CONFIG SET maxmemory-policy noeviction");
    ARRAY("[ key]", "COMMAND GETKEYS SET key v");
    redisReply *r = redisCommand(c, "COMMAND");
    OK(r && r->type == REDIS_REPLY_ARRAY && r->elements > 200);
    freeReplyObject(r);
}

int main(void) {
    static const struct {
        const char *name;
        void (*run)(void);
    } groups[] = {{"connecting", connecting}, {"types", types}, {"expiry", expiry}, {"pipelining", pipelining},
                  {"transactions", transactions}, {"subscriptions", subscriptions}, {"blocking", blocking}, {"iteration", iteration},
                  {"big and binary", big_and_binary}, {"error replies", errors}, {"reconnecting", reconnecting}, {"server", server}};
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        int before = held, broken = failed;
        c = other();
        freeReplyObject(redisCommand(c, "FLUSHALL"));
        groups[i].run();
        redisFree(c);
        printf("%s: %d%s\n", groups[i].name, held - before, failed > broken ? ", FAILED" : "");
    }
    printf("%d checks\n", held);
    return failed > 0;
}
