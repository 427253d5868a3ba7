//! Checksums that Redis's formats fix: CRC-64/Jones (RDB, DUMP) and CRC-16/XMODEM (cluster slots).

/// 0xad93d23594c935a9, bits reversed.
const JONES: u64 = 0x95ac_9329_ac4b_c9b5;

/// `CRC64[k][b]`: byte `b` followed by `k` zero bytes, for eight bytes a step.
static CRC64: [[u64; 256]; 8] = {
    let mut t = [[0u64; 256]; 8];
    let mut b = 0;
    while b < 256 {
        let mut crc = b as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ JONES } else { crc >> 1 };
            bit += 1;
        }
        t[0][b] = crc;
        b += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut b = 0;
        while b < 256 {
            let crc = t[k - 1][b];
            t[k][b] = crc >> 8 ^ t[0][(crc & 0xff) as usize];
            b += 1;
        }
        k += 1;
    }
    t
};

static CRC16: [u16; 256] = {
    let mut t = [0u16; 256];
    let mut b = 0;
    while b < 256 {
        let mut crc = (b as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        t[b] = crc;
        b += 1;
    }
    t
};

/// Continues `crc` (0 to start) over `bytes`.
pub fn crc64(mut crc: u64, bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    for w in words {
        let x = (crc ^ u64::from_le_bytes(*w)).to_le_bytes();
        crc = CRC64[7][x[0] as usize]
            ^ CRC64[6][x[1] as usize]
            ^ CRC64[5][x[2] as usize]
            ^ CRC64[4][x[3] as usize]
            ^ CRC64[3][x[4] as usize]
            ^ CRC64[2][x[5] as usize]
            ^ CRC64[1][x[6] as usize]
            ^ CRC64[0][x[7] as usize];
    }
    for &b in tail {
        crc = crc >> 8 ^ CRC64[0][(crc as u8 ^ b) as usize];
    }
    crc
}

pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &b| crc << 8 ^ CRC16[((crc >> 8) as u8 ^ b) as usize])
}

/// The cluster slot (0..16384) of a key: of what stands between its first '{' and the next '}', if anything does.
pub fn key_slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&b| b == b'{').and_then(|open| {
        let inner = key.get(open + 1..)?;
        inner.iter().position(|&b| b == b'}').filter(|&n| n > 0).and_then(|n| inner.get(..n))
    });
    crc16(tag.unwrap_or(key)) & 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn published_check_values() {
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(0, b""), 0);
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn hashtags_choose_the_slot() {
        assert_eq!(key_slot(b"123456789"), 0x31c3);
        assert_eq!(key_slot(b"foo"), 12182);
        assert_eq!(key_slot(b"{user1000}.following"), key_slot(b"user1000"));
        assert_eq!(key_slot(b"foo{{bar}}zap"), key_slot(b"{bar"));
        assert_eq!(key_slot(b"foo{bar}{zap}"), key_slot(b"bar"));
        for whole in [&b"foo{}{bar}"[..], b"foo{bar", b"foo}bar{", b"{"] {
            assert_eq!(key_slot(whole), crc16(whole) & 0x3fff);
        }
    }

    proptest! {
        #[test]
        fn eight_at_a_time_is_one_at_a_time(bytes in proptest::collection::vec(any::<u8>(), 0..100), cut: usize) {
            let one = bytes.iter().fold(0u64, |mut crc, &b| {
                crc ^= u64::from(b);
                for _ in 0..8 {
                    crc = if crc & 1 == 1 { crc >> 1 ^ JONES } else { crc >> 1 };
                }
                crc
            });
            prop_assert_eq!(crc64(0, &bytes), one);
            let (a, b) = bytes.split_at(cut % (bytes.len() + 1));
            prop_assert_eq!(crc64(crc64(0, a), b), one);
        }
    }
}
