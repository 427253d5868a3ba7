//! The geo family.
use crate::support::Local;

const SYNTAX: &str = "(error) ERR syntax error";
const WRONG_TYPE: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_FLOAT: &str = "(error) ERR value is not a valid float";
const BAD_MEMBER: &str = "(error) ERR could not decode requested zset member";
const SICILY: &str = "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania";

fn check(t: &mut Local, script: &[(&str, &str)]) {
    for (line, want) in script {
        assert_eq!(t.run(line), *want, "{line}");
    }
}

#[test]
fn positions_are_scores() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            (SICILY, "2"),
            (SICILY, "0"),
            ("ZSCORE g Palermo", r#""3479099956230698""#),
            ("TYPE g", "zset"),
            ("GEODIST g Palermo Catania", r#""166274.1516""#),
            ("GEODIST g Palermo Catania KM", r#""166.2742""#),
            ("GEODIST g Palermo Catania mi", r#""103.3182""#),
            ("GEODIST g Palermo Palermo ft", r#""0.0000""#),
            ("GEODIST g Palermo none", "nil"),
            ("GEODIST none a b", "nil"),
            (
                "GEODIST g Palermo Catania yd",
                "(error) ERR unsupported unit provided. please use M, KM, FT, MI",
            ),
            ("GEODIST g a b m x", SYNTAX),
            ("GEOHASH g Palermo none Catania", r#"["sqc8b49rny0", nil, "sqdtr74hyu0"]"#),
            ("GEOHASH g", "[]"),
            ("GEOPOS g Palermo none", r#"[["13.36138933897018433", "38.11555639549629859"], nil-array]"#),
            ("GEOPOS none x", "[nil-array]"),
            ("GEOADD g CH XX 13 38 Palermo 1 1 New", "1"),
            ("GEOADD g NX 1 1 Palermo", "0"),
            ("ZCARD g", "2"),
            ("GEOADD new XX 1 1 m", "0"),
            ("EXISTS new", "0"),
        ],
    );
    t.run("HELLO 3");
    assert_eq!(t.run("GEOPOS g Catania none"), "[[,15.08726745843887329, ,37.50266842333162032], nil]");
    assert_eq!(t.run("GEODIST g Catania Catania"), r#""0.0000""#);
}

#[test]
fn searches() {
    let mut t = Local::new();
    t.run(SICILY);
    t.run("GEOADD g 12.758489 38.788135 edge1 17.241510 38.788135 edge2");
    check(
        &mut t,
        &[
            ("GEORADIUS g 15 37 200 km ASC", r#"["Catania", "Palermo"]"#),
            ("GEORADIUS_RO g 15 37 200 km DESC", r#"["Palermo", "Catania"]"#),
            ("GEORADIUS g 15 37 200 km WITHDIST COUNT 1", r#"[["Catania", "56.4413"]]"#),
            (
                "GEOSEARCH g BYBOX 400 400 km FROMLONLAT 15 37 ASC WITHDIST WITHHASH WITHCOORD COUNT 1 ANY",
                r#"[["Palermo", "190.4424", 3479099956230698, ["13.36138933897018433", "38.11555639549629859"]]]"#,
            ),
            (
                "GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC",
                r#"["Catania", "Palermo", "edge2", "edge1"]"#,
            ),
            ("GEORADIUSBYMEMBER g Catania 0 m", r#"["Catania"]"#),
            ("GEORADIUSBYMEMBER_RO g Catania 60 mi", r#"["Catania"]"#),
            ("GEOSEARCH g FROMMEMBER Catania BYRADIUS 1 km", r#"["Catania"]"#),
            ("GEOSEARCH g FROMLONLAT 0 0 BYRADIUS 1 km", "[]"),
            ("GEOSEARCH none FROMMEMBER x BYRADIUS 1 km", "[]"),
            ("GEORADIUS g 15 37 200 km STORE d", "2"),
            ("ZRANGE d 0 -1", r#"["Palermo", "Catania"]"#),
            ("GEORADIUS g 15 37 200 km STOREDIST d", "2"),
            ("ZRANGE d 0 -1", r#"["Catania", "Palermo"]"#),
            ("GEORADIUSBYMEMBER g Catania 1 m STORE x STORE d", "1"),
            ("EXISTS x", "0"),
            ("GEOSEARCHSTORE g2 g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST COUNT 1", "1"),
            ("ZRANGE g2 0 -1", r#"["Catania"]"#),
            ("GEOSEARCHSTORE g2 g FROMLONLAT 0 0 BYRADIUS 1 km", "0"),
            ("EXISTS g2", "0"),
            ("GEORADIUS none 0 0 1 m STORE d", "0"),
            ("EXISTS d", "0"),
        ],
    );
}

#[test]
fn what_is_wrong_is_said_as_redis_says_it() {
    let mut t = Local::new();
    t.run(SICILY);
    t.run("SET s v");
    check(
        &mut t,
        &[
            ("GEOADD g 13 38", "(error) ERR wrong number of arguments for 'geoadd' command"),
            ("GEOADD g NX XX 1 1 m", SYNTAX),
            ("GEOADD g NX CH CH", SYNTAX),
            ("GEOADD g 1 1 m 2", SYNTAX),
            ("GEOADD g foo 1 m", NOT_FLOAT),
            ("GEOADD g nan 1 m", NOT_FLOAT),
            ("GEOADD g inf 1 m", "(error) ERR invalid longitude,latitude pair inf,1.000000"),
            ("GEOADD g 1 1 a 181 86 b", "(error) ERR invalid longitude,latitude pair 181.000000,86.000000"),
            ("ZCARD g", "2"),
            ("GEOADD s 1 1 m", WRONG_TYPE),
            ("GEODIST s a b", WRONG_TYPE),
            ("GEOPOS s a", WRONG_TYPE),
            ("GEOSEARCH s nonsense here and there so on", WRONG_TYPE),
            ("GEORADIUS g 200 0 1 m", "(error) ERR invalid longitude,latitude pair 200.000000,0.000000"),
            ("GEORADIUS g 0 0 x m", "(error) ERR need numeric radius"),
            ("GEORADIUS g 0 0 -1 m", "(error) ERR radius cannot be negative"),
            ("GEORADIUS g 0 0 1 x", "(error) ERR unsupported unit provided. please use M, KM, FT, MI"),
            ("GEORADIUS g 0 0 1 m COUNT", SYNTAX),
            ("GEORADIUS g 0 0 1 m COUNT 0", "(error) ERR COUNT must be > 0"),
            ("GEORADIUS g 0 0 1 m COUNT x", "(error) ERR value is not an integer or out of range"),
            ("GEORADIUS g 0 0 1 m ANY", "(error) ERR the ANY argument requires COUNT argument"),
            ("GEORADIUS_RO g 0 0 1 m STORE d", SYNTAX),
            (
                "GEORADIUS g 0 0 1 m STORE d WITHDIST",
                "(error) ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
            (
                "GEOSEARCHSTORE d g FROMLONLAT 0 0 BYRADIUS 1 m WITHHASH",
                "(error) ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
            ("GEORADIUSBYMEMBER g nobody 1 m", BAD_MEMBER),
            ("GEORADIUSBYMEMBER none nobody x y", "[]"),
            ("GEOSEARCH g FROMMEMBER nobody BYRADIUS 1 m", BAD_MEMBER),
            ("GEOSEARCH g FROMMEMBER Catania FROMLONLAT 0 0 BYRADIUS 1 m", SYNTAX),
            ("GEOSEARCH g FROMLONLAT 0 0 BYRADIUS 1 m BYBOX 1 1 m", SYNTAX),
            ("GEOSEARCH g FROMLONLAT 0 0 BYBOX 1 -1 m", "(error) ERR height or width cannot be negative"),
            ("GEOSEARCH g FROMLONLAT 0 0 BYBOX x 1 m", "(error) ERR need numeric width"),
            ("GEOSEARCH g FROMLONLAT 0 0 BYBOX 1 x m", "(error) ERR need numeric height"),
            (
                "GeoSearch g BYBOX 1 1 m ASC DESC",
                "(error) ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GeoSearch",
            ),
            (
                "GEOSEARCH g FROMLONLAT 0 0 ASC DESC",
                "(error) ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH",
            ),
            ("GEOSEARCH g FROMLONLAT 0 0 BYRADIUS 1 m STOREDIST", SYNTAX),
        ],
    );
}

#[test]
fn any_score_and_any_size_can_be_searched() {
    let mut t = Local::new();
    t.run("ZADD z -1 a 1e300 b inf c -inf d 18446744073709551615 e 0 f 9.3e18 g 0.5 h");
    for line in [
        "GEOPOS z a b c d e f g h",
        "GEOHASH z a b c d e f g h",
        "GEODIST z a c",
        "GEORADIUSBYMEMBER z a inf m WITHHASH WITHCOORD WITHDIST",
        "GEORADIUSBYMEMBER z c 1e300 ft COUNT 9223372036854775807",
        "GEORADIUS z 180 85.05112878 1e-300 m",
        "GEOSEARCH z FROMMEMBER d BYBOX inf inf mi COUNT 1 ANY",
    ] {
        assert!(!t.run(line).contains("error"), "{line}");
    }
    t.run("GEOADD edge 180 85.05112878 ne -180 -85.05112878 sw 180 0 e");
    assert_eq!(t.run("GEORADIUSBYMEMBER edge ne 1 m"), r#"["ne"]"#);
    assert_eq!(t.run("GEOSEARCH edge FROMMEMBER sw BYBOX 1 1 m"), r#"["sw"]"#);
}

/// The squares and their neighbours find what testing every member finds.
#[test]
fn large_sets_are_searched_alike() {
    let mut t = Local::new();
    let at =
        |i: u32| (f64::from(i * 7919 % 3000) / 100.0 - 15.0, f64::from(i * 104_729 % 4000) / 100.0 - 20.0);
    for i in 0..3000 {
        let (lon, lat) = at(i);
        t.run(&format!("GEOADD big {lon} {lat} m{i}"));
    }
    assert_eq!(t.run("OBJECT ENCODING big"), r#""skiplist""#);
    for (km, lon, lat) in [(100, 0, 0), (500, 3, 7), (1500, -10, 15)] {
        let count = t.run(&format!("GEORADIUS big {lon} {lat} {km} km STORE d"));
        t.run(&format!("GEOADD big {lon} {lat} here"));
        let near: Vec<_> = (0..3000)
            .filter(|i| {
                let d = t.run(&format!("GEODIST big here m{i} km"));
                d.trim_matches('"').parse::<f64>().is_ok_and(|d| d <= f64::from(km))
            })
            .collect();
        assert_eq!(count, near.len().to_string());
        assert_eq!(t.run("ZCARD d"), count);
        t.run("ZREM big here");
    }
}

#[test]
fn keys_are_found() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("COMMAND GETKEYS GEORADIUS a 1 1 1 m COUNT 5 STORE b", r#"["a", "b"]"#),
            ("COMMAND GETKEYS GEORADIUSBYMEMBER a m 1 m STORE x STOREDIST b", r#"["a", "b"]"#),
            ("COMMAND GETKEYS GEORADIUS a 1 1 1 m", r#"["a"]"#),
            ("COMMAND GETKEYS GEOSEARCHSTORE d s FROMLONLAT 0 0 BYRADIUS 1 m", r#"["d", "s"]"#),
        ],
    );
}
