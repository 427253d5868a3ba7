//! Templates for consumer groups; see `templates`. Consumers that are made and dropped by name have names of their own: 7.2
//! makes the others earlier than 7.0 does. Idle times asked for are none or more than a test takes.

pub const GROUPS: &str = "\
=  XADD $x $id $fv*
=  XADD $x $id f $v
=  XADD $x $id f $v
=  XADD $x $id f $v
=  XGROUP CREATE $x [g|h] [0|$|$od|$id] [|MKSTREAM|MKSTREAM|ENTRIESREAD $c|MKSTREAM ENTRIESREAD $n|$v]
=  XGROUP CREATE $x [g|h] [0|$|$od] MKSTREAM
=  XGROUP CREATE $x g 0 [MKSTREAM|MKSTREAM ENTRIESREAD 0]
=  XGROUP SETID $x [g|h] [0|$|$od|-|+] [|ENTRIESREAD $c|$v]
=  XGROUP SETID $x g $od
=  XGROUP DESTROY $x [g|h]
=  XGROUP CREATECONSUMER $x [g|h] [x|y]
=  XGROUP DELCONSUMER $x [g|h] [a|b|x|y]
=  XGROUP [CREATE $x|SETID $x g|NONSENSE $x g|DESTROY $x g h]
=  XREADGROUP GROUP [g|h] [a|b|c] STREAMS $x >
=  XREADGROUP GROUP g [a|b|c] COUNT $c STREAMS $x >
=  XREADGROUP GROUP g [a|b] COUNT [1|2|3] STREAMS $x >
=  XREADGROUP GROUP g [a|b] COUNT [1|2|3] STREAMS $x >
=  XREADGROUP GROUP [g|h] [a|b] COUNT 2 NOACK STREAMS $x >
=  XREADGROUP GROUP [g|h] [a|b] [|COUNT $c|COUNT $n] STREAMS $x [0|$od|$id|$|+|$v]
=  XREADGROUP GROUP g a COUNT 1 STREAMS $x $x [> >|> 0|0 >]
=  XREADGROUP [STREAMS $x >|GROUP g a $x >|GROUP g a COUNT STREAMS $x|NOACK COUNT 2 NOACK STREAMS $x >]
=  XACK $x [g|h] $od*
=  XACK $x g $od*
=  XACK $x g $id*
=  XPENDING $x [g|h]
=  XPENDING $x g
=  XPENDING $x [g|h] - + $c
=  XPENDING $x g $ib $ib [$c|$n] [|a|b|nobody]
=  XPENDING $x g IDLE [0|99999999|-3] - + 10 [|a|b]
=  XPENDING $x g [- +|- + x|IDLE 5 - +|IDLE x - + 5|- + 5 a b c d]
=  XCLAIM $x [g|h] [a|b|c] [0|99999999|-5] $od* [|JUSTID|FORCE|FORCE JUSTID|RETRYCOUNT $c|RETRYCOUNT -1|IDLE $n|TIME $n]
=  XCLAIM $x g [a|b] 0 $od* [LASTID $od|LASTID $id JUSTID|FORCE RETRYCOUNT 7|FORCE IDLE 5 TIME 7]
=  XCLAIM $x g [a|b] [0|$v] $id [|NONSENSE|IDLE x|RETRYCOUNT x|TIME x|LASTID x|IDLE]
=  XAUTOCLAIM $x [g|h] [a|b] [0|99999999] [-|0|$od|(0] [|COUNT 1|COUNT 2|COUNT $c|COUNT $n|JUSTID|$v]
=  XDEL $x $od*
=  XTRIM $x MAXLEN $c
=  XINFO STREAM $x
=  XINFO STREAM $x
=  XINFO GROUPS $x
=  XINFO GROUPS $x
=! XINFO [STREAM $x FULL COUNT|STREAM $x PART|CONSUMERS $x none|GROUPS $s|NONSENSE $x|STREAM nokey]
";
