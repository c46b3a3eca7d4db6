//! Numbers in terms of sizes that are not known before a request.

/// The maximum number of symbols in a product. Real shapes have a few.
const MAX_SYMBOLS: usize = 16;

/// An unknown number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Symbol {
    /// The number of rows in the batch.
    Rows,
    /// A size that is the same for every row.
    Size(u32),
    /// A number that is the same for every row, and may be negative or 0.
    Number(u32),
}

/// The product of a number and of symbols. Symbols are sorted, and a product of 0 has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Product {
    factor: i64,
    symbols: Vec<Symbol>,
}

/// The source of new symbols.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    used: u32,
}

impl Symbols {
    /// Returns an unknown size that is the same for every row.
    pub(super) fn size(&mut self) -> Product {
        Product::symbol(Symbol::Size(self.next()))
    }

    /// Returns an unknown number that is the same for every row.
    pub(super) fn number(&mut self) -> Product {
        Product::symbol(Symbol::Number(self.next()))
    }

    /// Returns the number as a size: itself if it is one, or an unknown size.
    pub(super) fn as_size(&mut self, number: &Product) -> Product {
        match number.is_size() {
            true => number.clone(),
            false => self.size(),
        }
    }

    fn next(&mut self) -> u32 {
        // Files have far fewer values. A repeated symbol after 4 billion is not reached.
        self.used = self.used.wrapping_add(1);
        self.used
    }
}

impl Product {
    pub(super) fn of(factor: i64) -> Product {
        Product {
            factor,
            symbols: Vec::new(),
        }
    }

    /// Returns the number of rows in the batch.
    pub(super) fn rows() -> Product {
        Product::symbol(Symbol::Rows)
    }

    fn symbol(symbol: Symbol) -> Product {
        Product {
            factor: 1,
            symbols: vec![symbol],
        }
    }

    /// Returns the product of all, or `None` if it is too large.
    pub(super) fn of_all(factors: &[Product]) -> Option<Product> {
        let mut factors = factors.iter();
        factors.try_fold(Product::of(1), |product, factor| product.times(factor))
    }

    pub(super) fn as_number(&self) -> Option<i64> {
        self.symbols.is_empty().then_some(self.factor)
    }

    pub(super) fn depends_on_rows(&self) -> bool {
        self.symbols.contains(&Symbol::Rows)
    }

    /// Returns whether this is the number of rows times a positive number that is the same for every row.
    pub(super) fn is_multiple_of_rows(&self) -> bool {
        let rows = self
            .symbols
            .iter()
            .filter(|symbol| **symbol == Symbol::Rows);
        rows.count() == 1 && self.is_size()
    }

    /// Returns whether this cannot be negative.
    pub(super) fn is_size(&self) -> bool {
        let is_size = |symbol: &Symbol| !matches!(symbol, Symbol::Number(_));
        self.factor >= 0 && self.symbols.iter().all(is_size)
    }

    pub(super) fn times(&self, other: &Product) -> Option<Product> {
        let factor = self.factor.checked_mul(other.factor)?;
        if factor == 0 {
            return Some(Product::of(0));
        }
        let mut symbols = [self.symbols.as_slice(), other.symbols.as_slice()].concat();
        symbols.sort_unstable();
        (symbols.len() <= MAX_SYMBOLS).then_some(Product { factor, symbols })
    }

    /// Returns the quotient, or `None` if it is not known to be an integer.
    pub(super) fn divided_by(&self, divisor: &Product) -> Option<Product> {
        if self.factor.checked_rem(divisor.factor)? != 0 {
            return None;
        }
        let factor = self.factor.checked_div(divisor.factor)?;
        let mut symbols = self.symbols.clone();
        for symbol in &divisor.symbols {
            let position = symbols.iter().position(|found| found == symbol)?;
            symbols.remove(position);
        }
        Some(Product { factor, symbols })
    }

    /// Returns the sum, or `None` if it is not a product.
    pub(super) fn plus(&self, other: &Product) -> Option<Product> {
        match (self.factor, other.factor) {
            (0, _) => Some(other.clone()),
            (_, 0) => Some(self.clone()),
            _ if self.symbols == other.symbols => {
                let factor = self.factor.checked_add(other.factor)?;
                let symbols = match factor {
                    0 => Vec::new(),
                    _ => self.symbols.clone(),
                };
                Some(Product { factor, symbols })
            }
            _ => None,
        }
    }

    pub(super) fn negated(&self) -> Option<Product> {
        self.times(&Product::of(-1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_multiplied_divided_and_added_where_the_result_is_one() {
        let mut symbols = Symbols::default();
        let (rows, size) = (Product::rows(), symbols.size());
        let both = rows.times(&Product::of(12)).and_then(|p| p.times(&size));
        let both = both.expect("it is small");
        assert_eq!(both.divided_by(&size), rows.times(&Product::of(12)));
        assert_eq!(both.divided_by(&Product::of(5)), None);
        assert_eq!(both.divided_by(&Product::of(0)), None);
        assert_eq!(rows.divided_by(&size), None);
        assert_eq!(rows.plus(&rows), rows.times(&Product::of(2)));
        assert_eq!(rows.plus(&size), None);
        let negative = rows.negated().expect("it is small");
        assert_eq!(rows.plus(&negative), Some(Product::of(0)));
        assert!(both.is_multiple_of_rows() && !size.is_multiple_of_rows());
        assert!(
            !rows
                .times(&rows)
                .is_some_and(|square| square.is_multiple_of_rows())
        );
    }

    #[test]
    fn products_stay_small() {
        let mut product = Product::rows();
        for _ in 0..4 {
            product = product.times(&product).expect("at most 16 symbols");
        }
        assert_eq!(product.times(&product), None);
        assert_eq!(Product::of(i64::MIN).negated(), None);
        assert_eq!(Product::of(i64::MIN).divided_by(&Product::of(-1)), None);
    }
}
