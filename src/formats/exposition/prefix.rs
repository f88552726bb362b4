//! How far two lines agree.

/// The number of bytes in which the page at `one` and the page at `two` agree, at most `most`.
///
/// `most` must not reach beyond the end of the page from either place.
#[inline(always)]
pub(crate) fn common_prefix(page: &[u8], one: usize, two: usize, most: usize) -> usize {
    let mut agreed = 0;
    // Words are read beyond `most`, as long as there is page, and what they find there does not count.
    while agreed < most {
        let (Some(left), Some(right)) = (word(page, one + agreed), word(page, two + agreed)) else {
            return by_bytes(page, one, two, most, agreed);
        };
        let difference = left ^ right;
        if difference != 0 {
            return most.min(agreed + (difference.trailing_zeros() / 8) as usize);
        }
        agreed += 8;
    }
    most
}

#[inline(always)]
fn word(page: &[u8], at: usize) -> Option<u64> {
    page.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

#[cold]
fn by_bytes(page: &[u8], one: usize, two: usize, most: usize, mut agreed: usize) -> usize {
    while agreed < most && page[one + agreed] == page[two + agreed] {
        agreed += 1;
    }
    agreed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_loop_at_every_length() {
        for length in 0..40 {
            for differing in 0..=length {
                let mut page = vec![b'a'; 2 * length];
                if differing < length {
                    page[length + differing] = b'b';
                }
                for most in 0..=length {
                    assert_eq!(
                        common_prefix(&page, 0, length, most),
                        differing.min(most),
                        "{length} {differing} {most}"
                    );
                    page.extend_from_slice(b"aaaaaaaaa");
                    assert_eq!(
                        common_prefix(&page, 0, length, most),
                        differing.min(most),
                        "{length} {differing} {most}"
                    );
                    page.truncate(2 * length);
                }
            }
        }
    }
}
