//! What streams are made of: a line a form of a command.
//!
//! The first character says how replies are compared: `=` bytes; `~` an aggregate's parts in any order (pairs of a map stay
//! together); `2` as `~`, but a flat array is pairs; `?` kind and length only, for what is random; `t` and `T` an
//! integer within some seconds or that many milliseconds; `e` an encoding. A `!` behind it: never mangled (it could block
//! or act at random, or be right in a later version).
//!
//! `$name` stands for an argument made up by `generate::Generator::fill`; `$name*` for one to several. `[a|b c|]` is one of
//! these.

pub const STRINGS: &str = "\
e  OBJECT ENCODING $s
=! SET $s $v [||||NX|XX|GET|EX $ex|PX $px|KEEPTTL|EXAT $at|NX GET|XX GET|GET KEEPTTL|EX $xn|PXAT $n|NX XX|EX 5 PX 5|$v]
=  GET $s
=  GET $s
=  SETNX $s $v
=! SETEX $s $ex $v
=! SETEX $s $xn $v
=! PSETEX $s $px $v
=  GETSET $s $v
=  GETDEL $s
=! GETEX $s [|EX $ex|PX $px|EXAT $at|PERSIST|EX $xn|PERSIST EX 5|$v]
=  APPEND $s $v
=  STRLEN $s
=  SETRANGE $s $off $v
=  GETRANGE $s $i $i
=  SUBSTR $s $i $n
=  INCR $s
=  DECR $s
=  INCRBY $s $n
=  DECRBY $s $n
=  INCRBYFLOAT $s $fl
=  INCRBYFLOAT $s $fl
=  MGET $s*
=  MGET $k*
=  MSET $sv*
=  MSETNX $sv*
=  LCS $s $s [|LEN|IDX|IDX MINMATCHLEN $i|IDX WITHMATCHLEN|IDX LEN|$v]
";

pub const BITMAPS: &str = "\
=  SETBIT $s $bit [0|1|0|1|2|$v]
=  GETBIT $s $bit
=  BITCOUNT $s [|$i $i|$i $i BYTE|$i $i BIT|$i|$i $i $v|$n $n]
=  BITPOS $s [0|1|2] [|$i|$i $i|$i $i BIT|$i $i BYTE|$i $i $v]
=  BITOP [AND|OR|XOR] $s $s*
=  BITOP NOT $s $s
=  BITOP [NOT|$v] $s $s*
=  BITFIELD $s [GET $bt $bo|SET $bt $bo $n|INCRBY $bt $bo $n|OVERFLOW [SAT] INCRBY $bt $bo $n]
=  BITFIELD $s OVERFLOW [WRAP|SAT|FAIL|$v] INCRBY $bt $bo $n GET $bt $bo SET $bt $bo $n
=  BITFIELD_RO $s GET $bt $bo [|GET $bt $bo|SET u8 0 1]
";

pub const LISTS: &str = "\
=  LPUSH $l $v*
e  OBJECT ENCODING $l
=  RPUSH $l $v*
=  RPUSH $l $v*
=  LPUSHX $l $v*
=  RPUSHX $l $v*
=  LPOP $l [|$c|$n]
=  RPOP $l [|$c|$n]
=  LLEN $l
=  LRANGE $l $i $i
=  LRANGE $l 0 -1
=  LINDEX $l $i
=  LSET $l $i $v
=  LINSERT $l [BEFORE|AFTER|$v] $v $v
=  LREM $l $i $v
=  LTRIM $l $i $i
=  LTRIM $l 0 [3|40]
=  LPOS $l $v [|RANK $i|COUNT $c|RANK $i COUNT $c MAXLEN $c|MAXLEN $n|RANK 0|$v]
=  RPOPLPUSH $l $l
=  LMOVE $l $l [LEFT|RIGHT|$v] [LEFT|RIGHT]
=  LMPOP $c $l* [LEFT|RIGHT] [|COUNT $c]
=  LMPOP 2 $l $l [LEFT|RIGHT] [|COUNT $c]
";

pub const SETS: &str = "\
=  SADD $S $m*
=  SADD $S $m*
e  OBJECT ENCODING $S
=  SADD $S $im*
=  SREM $S $m*
=  SREM $S $im*
=  SCARD $S
=  SISMEMBER $S $m
=  SMISMEMBER $S $m*
~  SMEMBERS $S
=  SMOVE $S $S $m
~! SPOP $S [1000|1000|0|-1|abc]
?! SRANDMEMBER $S [|0|4|abc|1000|-3]
~  SINTER $S*
~  SUNION $S*
~  SDIFF $S*
=  SINTERSTORE $S $S*
=  SUNIONSTORE $S $S*
=  SDIFFSTORE $S $S*
=  SINTERCARD $c $S* [|LIMIT $c|LIMIT $n|$v]
=  SINTERCARD 2 $S $S [|LIMIT $c|LIMIT $n|$v]
";

pub const ZSETS: &str = "\
e  OBJECT ENCODING $z
=  ZADD $z $sm*
=  ZADD $z $sm*
=! ZADD $y $ym*
=! ZADD $y $ym*
=  ZADD $z [NX|XX|GT|LT|CH|XX CH|GT CH|NX XX|NX GT|$v] $sm*
=  ZADD $z [|NX|XX|GT|CH] INCR $sc $m
=  ZINCRBY $z $sc $m
=  ZREM $z $m*
=  ZRANGESTORE $y $y $lx $lx BYLEX [|REV|LIMIT 0 $c]
=  ZCARD $z
=  ZSCORE $z $m
=  ZMSCORE $z $m*
=! ZRANK $z $m
=! ZREVRANK $z $m
=  ZCOUNT $z $sr $sr
=  ZLEXCOUNT $y $lx $lx
=  ZRANGE $z $i $i [|WITHSCORES|REV|REV WITHSCORES|$v]
=  ZRANGE $z 0 -1 WITHSCORES
=  ZRANGE $z $sr $sr BYSCORE [|WITHSCORES|REV|LIMIT $i $i|REV LIMIT $c $c WITHSCORES]
=  ZRANGE $y $lx $lx BYLEX [|REV|LIMIT $i $i|WITHSCORES]
=  ZREVRANGE $z $i $i [|WITHSCORES]
=  ZRANGEBYSCORE $z $sr $sr [|WITHSCORES|LIMIT $i $i|WITHSCORES LIMIT $c $c]
=  ZREVRANGEBYSCORE $z $sr $sr [|WITHSCORES|LIMIT $i $i]
=  ZRANGEBYLEX $y $lx $lx [|LIMIT $i $i]
=  ZREVRANGEBYLEX $y $lx $lx [|LIMIT $i $i]
=  ZRANGESTORE $z $z [$i $i|$i $i REV|$sr $sr BYSCORE|$sr $sr BYSCORE LIMIT $c $c]
=  ZREMRANGEBYRANK $z $i $i
=  ZREMRANGEBYSCORE $z $sr $sr
=  ZREMRANGEBYLEX $y $lx $lx
=  ZPOPMIN $z [|$c|$n]
=  ZPOPMAX $z [|$c|$n]
=  ZMPOP 2 $z $z [MIN|MAX|$v] [|COUNT $c]
=  ZMPOP $n $z $z [MIN|MAX]
=  ZUNION 2 $z $z [|WITHSCORES|WEIGHTS $w $w|AGGREGATE [MIN] WITHSCORES|AGGREGATE MAX|WEIGHTS 2 $v|$v]
=  ZUNION 2 $z $S [|WITHSCORES]
=  ZINTER 2 $z $z [|WITHSCORES|WEIGHTS $w $w WITHSCORES|AGGREGATE $v]
=  ZDIFF 2 $z $z [|WITHSCORES]
=  ZUNIONSTORE $z 2 $z $z [|WEIGHTS $w $w|AGGREGATE MIN|AGGREGATE MAX|AGGREGATE SUM]
=  ZINTERSTORE $z 2 $z $S [|WEIGHTS $w $w|AGGREGATE MIN|AGGREGATE MAX]
=  ZDIFFSTORE $z $c $z $z
=  ZDIFFSTORE $z 2 $z $z
=  ZINTERCARD 2 $z $z [|LIMIT $c|LIMIT $n|$v]
?! ZRANDMEMBER $z [|0|4|abc|1000|-3|1000 WITHSCORES]
";

pub const HASHES: &str = "\
e  OBJECT ENCODING $h
=  HSET $h $fv*
=  HSET $h $fv*
=  HMSET $h $fv*
=  HSETNX $h $f $v
=  HGET $h $f
=  HMGET $h $f*
=  HDEL $h $f*
=  HEXISTS $h $f
=  HLEN $h
=  HSTRLEN $h $f
=  HINCRBY $h $f $n
=  HINCRBY $h $f $n
=  HINCRBYFLOAT $h $f $fl
~  HKEYS $h
~  HVALS $h
2  HGETALL $h
?! HRANDFIELD $h [|0|4|abc|1000|-3]
~! HRANDFIELD $h 100000 [|$v]
2! HRANDFIELD $h 100000 WITHVALUES
";

pub const GEO: &str = "\
=  GEOADD $g $gm*
=  GEOADD $g $gm*
=  GEOADD $g [NX|XX|CH|XX CH|NX XX|CH|$v] $gm*
=  GEODIST $g $m $m [|$un|m x]
=  GEOHASH $g $m*
=  GEOPOS $g $m*
=  ZREM $g $m
=  ZRANGE $g 0 -1 WITHSCORES
=  GEOSEARCH $g $gf $gb $go
=  GEOSEARCH $g $gf $gb $go
=  GEOSEARCH $g $gb $go $gf
=  GEOSEARCH $g [$gf|$gb|$gf $gf $gb|$gf $gb $gb|$gf $gb STOREDIST]
=  GEOSEARCHSTORE $g $g $gf $gb [|COUNT $c|ASC|STOREDIST|DESC COUNT 3 STOREDIST|WITHDIST]
=  GEORADIUS $g $ll $rd $un $go
=  GEORADIUS $g $ll $rd $un [STORE $g|STOREDIST $g|COUNT 3 STORE $g|STORE $g WITHHASH]
=  GEORADIUS_RO $g $ll $rd $un [$go|STORE $g]
=  GEORADIUSBYMEMBER $g $m $rd $un $go
=  GEORADIUSBYMEMBER $g $m $rd $un [STORE $g|STOREDIST $g]
=  GEORADIUSBYMEMBER_RO $g $m $rd $un $go
";

/// What `$go` stands for.
pub const GEO_OPTIONS: &str = "[|ASC|DESC|WITHDIST|WITHCOORD|WITHHASH|WITHDIST WITHHASH WITHCOORD|COUNT $c\
    |COUNT 2|COUNT 7 DESC|COUNT 3 ANY|ANY|COUNT 4 ANY ASC WITHDIST|WITHDIST ASC|$v]";

pub const HYPERLOGLOGS: &str = "\
=  PFADD $p $v*
=  PFADD $p $im*
=  PFADD $p $v*
=  PFADD $p $m*
=  PFADD $p
=  GET $p
=  STRLEN $p
=  PFCOUNT $p
=  PFCOUNT $p $p*
=  PFMERGE $p $p*
=  PFMERGE $p $p*
=  PFDEBUG [ENCODING|DECODE|DECODE|DECODE|$v] $p
=  PFDEBUG [TODENSE|GETREG|DECODE|DECODE] p:4
=  DEL $p
";

pub const GENERIC: &str = "\
=  DEL $k*
=  UNLINK $k*
=  EXISTS $k*
=  TOUCH $k*
=  TYPE $k
=  RENAME $k $k
=  RENAMENX $k $k
=  COPY $k $k [|REPLACE|DB 1|DB 1 REPLACE|DB 99|DB $n|$v]
=  MOVE $k [1|0|99|$v]
~  KEYS $pat
~  KEYS *
=! EXPIRE $k $ex [|NX|XX|GT|LT|NX XX|GT LT|$v]
=! EXPIRE $k $xn
=! PEXPIRE $k $px [|NX|XX|GT|LT]
=! EXPIREAT $k $at [|NX|XX|GT|LT]
=! PEXPIREAT $k $n
=  PERSIST $k
t  TTL $k
T  PTTL $k
t  EXPIRETIME $k
T  PEXPIRETIME $k
e  OBJECT ENCODING $k
=  OBJECT $v $k
=  SORT $l [ALPHA|ALPHA DESC|ALPHA LIMIT $i $i|ALPHA STORE $l||DESC|LIMIT 0 $c]
=  SORT $S [ALPHA|ALPHA DESC LIMIT 1 5|ALPHA STORE $l|]
=  SORT $y BY nosort [|DESC LIMIT 0 3|LIMIT 1 2]
=  SORT $z [ALPHA|ALPHA GET # GET h:*|ALPHA GET # GET s:*]
=  SORT_RO $l [ALPHA|ALPHA LIMIT 0 $c|STORE $l]
=  SELECT [0|0|0|1|99|$v]
=  SELECT 0
=  SWAPDB [0|1|99|$v] [0|1]
";

pub const TRANSACTIONS: &str = "\
=  MULTI
=  MULTI
=  EXEC
=  DISCARD
=  WATCH $k*
=  UNWATCH
";

pub const OTHER: &str = "\
=  PING [|$v]
=  ECHO $v
=  NOSUCHCOMMAND $v*
=  $v $v
=  OBJECT
e  OBJECT ENCODING
=  CLIENT GETNAME
=! COMMAND GETKEYS [MSET $s $v $s $v|GET $s|ZUNIONSTORE $z 2 $z $z|SORT $l STORE $s]
=! WAIT 0 0
=  BITOP
=  LMPOP 0 $l LEFT
=  SINTERCARD 0 $S
=  PUBLISH $v $v
";

/// Each may wait for its timeout: few of them.
pub const BLOCKING: &str = "\
=! BLPOP $l $l [0.001|-1|abc]
=! BRPOP $l 0.001
=! BLMOVE $l $l [LEFT|RIGHT] [LEFT|RIGHT] 0.001
=! BRPOPLPUSH $l $l 0.001
=! BLMPOP 0.001 2 $l $l [LEFT|RIGHT] [|COUNT $c]
=! BZPOPMIN $z $z [0.001|-1|abc]
=! BZPOPMAX $z 0.001
=! BZMPOP 0.001 2 $z $z [MIN|MAX] [|COUNT $c]
";
