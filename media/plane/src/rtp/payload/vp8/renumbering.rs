//! Keeps the picture ids that one subscriber receives continuous.

use super::Ids;

/// Pictures left out that are remembered, so that a late packet from before them still finds its number: at 30 frames a second and
/// three of four left out, about 0.7 s, longer than any retransmission is useful.
const REMEMBERED: usize = 16;

/// Renumbers pictures so that neither a switch between simulcast layers nor a dropped temporal layer leaves a gap. A decoder takes a
/// gap for loss and holds later frames back until the missing one comes.
///
/// Ids are 15 bits wide here; of a 7-bit sender's the low bits are used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Renumbering {
    /// Added to the ids that come in, modulo their width.
    offset: Ids,
    /// The newest picture, as it came in; `None` before the first.
    newest_in: Option<u16>,
    /// The newest numbers that went out.
    newest_out: Ids,
    /// The last pictures left out, as they came in; a ring.
    left_out: [u16; REMEMBERED],
    left_out_count: usize,
}

impl Renumbering {
    /// The next picture, `first`, is of another layer or follows a pause: it is numbered next after the newest that was sent.
    pub fn switch(&mut self, first: Ids) {
        if self.newest_in.is_none() {
            return;
        }
        self.offset.picture_id = self.newest_out.picture_id.wrapping_add(1).wrapping_sub(first.picture_id) & 0x7fff;
        self.offset.tl0picidx = self.newest_out.tl0picidx.wrapping_add(1).wrapping_sub(first.tl0picidx);
        self.newest_in = Some(first.picture_id.wrapping_sub(1) & 0x7fff);
        self.left_out_count = 0;
    }

    /// The numbers under which a picture goes out. All packets of a picture get the same.
    pub fn forward(&mut self, ids: Ids) -> Ids {
        let before = self.remembered().filter(|left_out| is_newer(**left_out, ids.picture_id)).count() as u16;
        let out = Ids {
            picture_id: ids.picture_id.wrapping_add(self.offset.picture_id).wrapping_add(before) & 0x7fff,
            tl0picidx: ids.tl0picidx.wrapping_add(self.offset.tl0picidx),
        };
        if self.is_newest(ids.picture_id) {
            (self.newest_in, self.newest_out) = (Some(ids.picture_id), out);
        }
        out
    }

    /// Leaves a picture out, so that those after it move up by one; call it for each packet of the picture.
    ///
    /// False when that is not possible, because newer pictures went out with room for it: then it has to be forwarded.
    pub fn leave_out(&mut self, ids: Ids) -> bool {
        if self.remembered().any(|left_out| *left_out == ids.picture_id) || self.newest_in.is_none() {
            return true;
        }
        if !self.is_newest(ids.picture_id) {
            return false;
        }
        self.newest_in = Some(ids.picture_id);
        self.offset.picture_id = self.offset.picture_id.wrapping_sub(1) & 0x7fff;
        self.left_out[self.left_out_count % REMEMBERED] = ids.picture_id;
        self.left_out_count += 1;
        true
    }

    fn remembered(&self) -> impl Iterator<Item = &u16> {
        self.left_out.iter().take(self.left_out_count)
    }

    fn is_newest(&self, picture_id: u16) -> bool {
        self.newest_in.is_none_or(|newest| is_newer(picture_id, newest))
    }
}

/// Order of 15-bit numbers that wrap.
fn is_newer(id: u16, than: u16) -> bool {
    let ahead = id.wrapping_sub(than) & 0x7fff;
    ahead != 0 && ahead < 0x4000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(picture_id: u16, tl0picidx: u8) -> Ids {
        Ids { picture_id, tl0picidx }
    }

    #[test]
    fn a_room_that_is_called_on_changes_layer_without_a_gap() {
        let mut numbers = Renumbering::default();
        assert_eq!(numbers.forward(ids(0x7ffe, 255)), ids(0x7ffe, 255));
        assert_eq!(numbers.forward(ids(0x7fff, 0)), ids(0x7fff, 0));
        numbers.switch(ids(4000, 80));
        assert_eq!(numbers.forward(ids(4000, 80)), ids(0, 1));
        assert_eq!(numbers.forward(ids(4000, 80)), ids(0, 1), "the second packet of the keyframe");
        assert_eq!(numbers.forward(ids(4001, 81)), ids(1, 2));
        numbers.switch(ids(7, 7));
        assert_eq!(numbers.forward(ids(7, 7)), ids(2, 3));
    }

    #[test]
    fn half_the_frames_left_out_for_a_slow_line_leave_no_gaps() {
        let mut numbers = Renumbering::default();
        let mut sent = Vec::new();
        for picture in (0..200u16).map(|n| (n + 32_700) & 0x7fff) {
            let picture_ids = ids(picture, 0);
            if picture % 2 == 0 {
                sent.push(numbers.forward(picture_ids).picture_id);
            } else {
                assert!(numbers.leave_out(picture_ids));
                assert!(numbers.leave_out(picture_ids), "its second packet");
            }
        }
        assert!(sent.windows(2).all(|pair| pair[1] == (pair[0] + 1) & 0x7fff), "{sent:?}");
    }

    #[test]
    fn a_late_packet_gets_the_number_that_was_kept_for_it() {
        let mut numbers = Renumbering::default();
        assert_eq!(numbers.forward(ids(10, 1)).picture_id, 10);
        // Picture 11 was lost on the way in; 12 is left out; 13 goes out.
        assert!(numbers.leave_out(ids(12, 2)));
        assert_eq!(numbers.forward(ids(13, 2)).picture_id, 12);
        assert!(!numbers.leave_out(ids(11, 2)), "13 went out with room for it");
        assert_eq!(numbers.forward(ids(11, 2)).picture_id, 11);
        assert_eq!(numbers.forward(ids(14, 2)).picture_id, 13);
    }
}
