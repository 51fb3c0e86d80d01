//! RED, redundant audio data (RFC 2198): older Opus frames repeated before the newest.
//!
//! ```text
//! |1| PT | timestamp offset (14) | length (10) |   header of each redundant block, 4 bytes
//! |0| PT |                                         header of the primary block, 1 byte
//! | redundant data … | primary data                in header order; the primary takes the rest
//! ```

/// Size in bytes of a redundant block's header.
const REDUNDANT_HEADER_LEN: usize = 4;

/// One encoding of a period of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Payload type of the encoded data.
    pub payload_type: u8,
    /// Age of the block relative to the packet's RTP timestamp in ticks; 0 for the primary block.
    pub timestamp_offset: u16,
    /// The encoded data.
    pub payload: &'a [u8],
    /// The newest audio, which without RED would be the complete payload.
    pub primary: bool,
}

/// Iterates over the blocks, oldest first and the primary last; empty if a length exceeds the
/// payload.
pub fn blocks(payload: &[u8]) -> Blocks<'_> {
    split(payload).unwrap_or(Blocks {
        headers: &[],
        data: &[],
    })
}

/// Returns the payload type and payload of the primary block.
pub fn primary(payload: &[u8]) -> Option<(u8, &[u8])> {
    blocks(payload)
        .last()
        .map(|block| (block.payload_type, block.payload))
}

/// Iterator returned by [`blocks`].
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    /// Headers not yet read; their data lengths fit into `data`.
    headers: &'a [u8],
    data: &'a [u8],
}

/// Finds the end of the headers and checks that the redundant blocks fit.
fn split(payload: &[u8]) -> Option<Blocks<'_>> {
    let (mut at, mut redundant_len) = (0, 0);
    while payload.get(at)? & 0x80 != 0 {
        redundant_len += block_len(payload.get(at..at + REDUNDANT_HEADER_LEN)?);
        at += REDUNDANT_HEADER_LEN;
    }
    let (headers, data) = payload.split_at(at + 1);
    (redundant_len <= data.len()).then_some(Blocks { headers, data })
}

fn block_len(header: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([header[2], header[3]]) & 0x3ff)
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let payload_type = self.headers.first()? & 0x7f;
        if self.headers.len() < REDUNDANT_HEADER_LEN {
            self.headers = &[];
            return Some(Block {
                payload_type,
                timestamp_offset: 0,
                payload: self.data,
                primary: true,
            });
        }
        let (header, headers) = self.headers.split_at(REDUNDANT_HEADER_LEN);
        let (payload, data) = self.data.split_at(block_len(header));
        let timestamp_offset = u16::from_be_bytes([header[1], header[2]]) >> 2;
        (self.headers, self.data) = (headers, data);
        Some(Block {
            payload_type,
            timestamp_offset,
            payload,
            primary: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One redundant block of 3 bytes, 960 ticks older, and a primary block of 2 bytes, both of
    /// payload type 111.
    const SPEECH: [u8; 10] = [
        0x80 | 111,
        (960 >> 6) as u8,
        (960 << 2) as u8,
        3,
        111,
        1,
        2,
        3,
        4,
        5,
    ];

    #[test]
    fn a_lost_audio_frame_is_recovered_from_the_next_packet() {
        let found: Vec<_> = blocks(&SPEECH).collect();
        let old = Block {
            payload_type: 111,
            timestamp_offset: 960,
            payload: &[1, 2, 3],
            primary: false,
        };
        let new = Block {
            payload_type: 111,
            timestamp_offset: 0,
            payload: &[4, 5],
            primary: true,
        };
        assert_eq!(found, [old, new]);
        assert_eq!(primary(&SPEECH), Some((111, &[4, 5][..])));
    }

    #[test]
    fn the_first_packet_has_no_redundant_block() {
        assert_eq!(primary(&[111, 7, 7]), Some((111, &[7, 7][..])));
    }

    #[test]
    fn wrong_lengths_yield_no_block() {
        for cut in 0..5 {
            assert_eq!(primary(&SPEECH[..cut]), None, "{cut} bytes");
        }
        assert_eq!(primary(&SPEECH[..7]), None);
        assert_eq!(primary(&[0xff; 64]), None);
    }
}
