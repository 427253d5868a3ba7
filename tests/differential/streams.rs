//! Templates for streams; see `templates`. Ids are always given: those made up by the clock differ between servers. XSETID has
//! a key where nothing is deleted: 7.2 lets no last id below the highest deleted one, 7.0 does.

pub const STREAMS: &str = "\
=  XADD $x $id $fv*
=  XADD $x $id $fv*
=  XADD $x $id $fv*
=  XADD $x $id f $v g $v
=  XADD $x $id f $v g $v
=  XADD $x $id f $v g $v
=  XADD $x [NOMKSTREAM|MAXLEN $c|MAXLEN = $c|MAXLEN ~ $c|MAXLEN ~ $c LIMIT $c|MINID $od|MINID ~ $od|MAXLEN $n] $id $fv*
=  XADD $x [MAXLEN $c MINID $id|LIMIT 5|MAXLEN 5 LIMIT 5|MAXLEN ~ -1|MAXLEN|NOMKSTREAM MAXLEN 3|MINID $v] $id $fv*
e  OBJECT ENCODING $x
=  XLEN $x
=  XRANGE $x - + [|COUNT $c|COUNT $n|$v|COUNT]
=  XRANGE $x - +
=  XRANGE $x $ib $ib [|COUNT $c]
=  XREVRANGE $x + - [|COUNT $c|COUNT $n|$v]
=  XREVRANGE $x $ib $ib [|COUNT $c]
=  XDEL $x $od*
=  XDEL $x $od*
=  XDEL $x $id*
=  XTRIM $x [MAXLEN $c|MAXLEN ~ $c|MAXLEN = $c|MINID $id|MINID ~ $od|MINID $od|MAXLEN ~ $c LIMIT $c|MINID ~ $od LIMIT 0|MAXLEN $n|$v $c]
=  XTRIM $x MAXLEN $c [LIMIT 3|MINID $id|$v]
=  XSETID xs:1 $id [|ENTRIESADDED $c|MAXDELETEDID 0|MAXDELETEDID 9999|ENTRIESADDED $c MAXDELETEDID 0|ENTRIESADDED $n|$v]
=  XADD xs:1 [|MAXLEN 3] $id f $v
=  XSETID [$s|nokey] $id
=  XREAD [|COUNT $c|COUNT $n] STREAMS $x [$od|0|$|>|+|$v]
=  XREAD [|COUNT $c] STREAMS $x $x $id [$id|0|$]
=  XREAD COUNT [1|2] STREAMS $x $x 0 0
=! XREAD BLOCK [1|-1|abc] STREAMS $x $
=  XREAD [STREAMS $x|GROUP a b STREAMS $x 0|NOACK STREAMS $x 0|COUNT 1|STREAMS $x $x 0]
=! CONFIG SET stream-node-max-entries [2|3|5|100]
=! CONFIG SET stream-node-max-bytes [0|60|200|4096]
";
