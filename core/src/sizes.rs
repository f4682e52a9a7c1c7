//! Which of its sizes a machine tells in its trace: only news, since a line in every record would cost more than the
//! work that it tells of.

/// The sizes that were told last, each under a place of its own.
#[derive(Debug, Clone)]
pub struct SizesTold<const N: usize>([u64; N]);

impl<const N: usize> Default for SizesTold<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> SizesTold<N> {
    /// Whether this is news: it has doubled since it was told, or is beyond its limit, which is always told.
    pub fn is_news(&mut self, place: usize, size: u64, limit: u64) -> bool {
        let told = &mut self.0[place];
        let news = size > limit || (size > 0 && size / 2 >= *told);
        if news {
            *told = size;
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_when_it_has_doubled_and_whenever_it_is_beyond_its_limit() {
        let mut told = SizesTold::<1>::default();
        let sizes = [0, 1, 1, 2, 3, 4, 3, 2, 7, 9, 8, 9, 20, 10];
        let news: Vec<u64> = sizes.into_iter().filter(|size| told.is_news(0, *size, 8)).collect();
        assert_eq!(news, [1, 2, 4, 9, 9, 20, 10]);
    }
}
