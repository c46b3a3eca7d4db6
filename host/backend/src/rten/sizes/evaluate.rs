//! The elements of small tensors: the results of the operators with which graphs compute sizes.
//!
//! Floats are computed in 32 bits and in the order of rten, so that a size that is rounded down is the same.

use super::known::{Known, MAX_ELEMENTS, Numbers, small};
use super::operands::Operands;
use rten_shape_inference::SymExpr;

/// Returns the output of an operator on single elements, if its inputs are numbers.
pub(super) fn elementwise(operands: &Operands<'_>, sizes: &[SymExpr]) -> Option<Known> {
    let operator = operands.step.operator.as_str();
    let to = small(sizes)?;
    let inputs = operands.inputs.iter();
    let inputs = inputs.map(|input| spread(input.as_ref()?, &to));
    let inputs: Vec<Numbers> = inputs.collect::<Option<_>>()?;
    let numbers = match (operator, inputs.as_slice()) {
        ("Where", [condition, yes, no]) => choose(condition, yes, no)?,
        // rten multiplies by the reciprocal of a single number.
        ("Div", [Numbers::Floats(a), Numbers::Floats(b)]) if is_single(operands.optional(1)) => {
            Numbers::Floats(zip(a, b, |x, y| Some(x * (1.0 / y)))?)
        }
        ("Mod", [Numbers::Integers(a), Numbers::Integers(b)]) => {
            let truncates = operands.flag("fmod").unwrap_or(false);
            Numbers::Integers(zip(a, b, |x, y| remainder(x, y, truncates))?)
        }
        (_, [single]) => unary(operator, single)?,
        (_, [first, others @ ..]) => {
            let mut numbers = others.iter();
            numbers.try_fold(first.clone(), |numbers, other| {
                binary(operator, &numbers, other)
            })?
        }
        _ => return None,
    };
    Some(Known::of_numbers(sizes.to_vec(), numbers))
}

/// Returns the output of `Clip`.
pub(super) fn clip(operands: &Operands<'_>) -> Option<Known> {
    let data = operands.optional(0)?;
    let sizes = data.sizes();
    let to = small(&sizes)?;
    let mut numbers = data.numbers()?;
    for (position, operator) in [(1, "Max"), (2, "Min")] {
        if let Some(bound) = operands.optional(position) {
            numbers = binary(operator, &numbers, &spread(bound, &to)?)?;
        }
    }
    Some(Known::of_numbers(sizes, numbers))
}

/// Returns the numbers converted to the element type `to` of the file, if it is one that rten has.
pub(super) fn cast(numbers: &Numbers, to: i32) -> Option<Numbers> {
    // FLOAT, FLOAT16 and DOUBLE; INT32, INT64 and BOOL.
    match (to, numbers) {
        (1 | 10 | 11, Numbers::Integers(integers)) => Some(to_floats(integers)),
        (6 | 7 | 9, Numbers::Floats(floats)) => Some(to_integers(floats)),
        (1 | 10 | 11, Numbers::Floats(_)) | (6 | 7 | 9, Numbers::Integers(_)) => {
            Some(numbers.clone())
        }
        _ => None,
    }
}

/// Returns the numbers in the type of `like`.
pub(super) fn cast_like(numbers: &Numbers, like: &Numbers) -> Numbers {
    match (numbers, like) {
        (Numbers::Integers(integers), Numbers::Floats(_)) => to_floats(integers),
        (Numbers::Floats(floats), Numbers::Integers(_)) => to_integers(floats),
        _ => numbers.clone(),
    }
}

fn to_floats(integers: &[i32]) -> Numbers {
    Numbers::Floats(integers.iter().map(|&integer| integer as f32).collect())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, as rten's does"
)]
fn to_integers(floats: &[f32]) -> Numbers {
    Numbers::Integers(floats.iter().map(|&float| float as i32).collect())
}

/// Returns all elements reduced to one.
pub(super) fn reduce(operator: &str, numbers: &Numbers) -> Option<Numbers> {
    let operator = match operator {
        "ReduceMax" => "Max",
        "ReduceMin" => "Min",
        "ReduceProd" => "Mul",
        "ReduceSum" => "Add",
        _ => return None,
    };
    // Sums of floats depend on the order, in which rten is free.
    let Numbers::Integers(integers) = numbers else {
        return None;
    };
    let (first, others) = integers.split_first()?;
    let mut result = *first;
    for other in others {
        result = integer(operator, result, *other)?;
    }
    Some(Numbers::Integers(vec![result]))
}

/// Computes an operator on two integers, as far as it stays within 32 bits.
pub(super) fn integer(operator: &str, x: i32, y: i32) -> Option<i32> {
    Some(match operator {
        "Add" | "Sum" => x.checked_add(y)?,
        "And" => i32::from(x != 0 && y != 0),
        "Div" => x.checked_div(y)?,
        "Equal" => i32::from(x == y),
        "Greater" => i32::from(x > y),
        "GreaterOrEqual" => i32::from(x >= y),
        "Less" => i32::from(x < y),
        "LessOrEqual" => i32::from(x <= y),
        "Max" => x.max(y),
        "Min" => x.min(y),
        "Mul" => x.checked_mul(y)?,
        "Or" => i32::from(x != 0 || y != 0),
        "Pow" => x.checked_pow(u32::try_from(y).ok()?)?,
        "Sub" => x.checked_sub(y)?,
        "Xor" => i32::from((x != 0) != (y != 0)),
        _ => return None,
    })
}

/// Returns the indices of the elements of a tensor of `sizes` that are at one of `picks` along each axis.
/// There must be few of them.
pub(super) fn select(sizes: &[usize], picks: &[Vec<usize>]) -> Vec<usize> {
    let axes = sizes.iter().zip(picks);
    axes.fold(vec![0], |indices, (&size, picks)| {
        let indices = indices.iter();
        indices
            .flat_map(|&index: &usize| picks.iter().map(move |&pick| index * size + pick))
            .collect()
    })
}

/// Returns the elements of a tensor broadcast to the sizes `to`.
pub(super) fn spread(known: &Known, to: &[usize]) -> Option<Numbers> {
    let numbers = known.numbers()?;
    let own = known.fixed_sizes()?;
    let missing = to.len().checked_sub(own.len())?;
    let mut from = vec![1; missing];
    from.extend(own);
    let picks = from.iter().zip(to).map(|(&from, &to)| match from {
        1 => Some(vec![0; to]),
        _ if from == to => Some((0..to).collect()),
        _ => None,
    });
    let picks: Vec<Vec<usize>> = picks.collect::<Option<_>>()?;
    numbers.pick(&select(&from, &picks))
}

fn is_single(known: Option<&Known>) -> bool {
    let numbers = known.and_then(Known::numbers);
    numbers.is_some_and(|numbers| numbers.len() == 1)
}

fn unary(operator: &str, numbers: &Numbers) -> Option<Numbers> {
    match numbers {
        Numbers::Integers(integers) => {
            let integers = integers.iter().map(|&x| {
                Some(match operator {
                    "Abs" => x.checked_abs()?,
                    "Neg" => x.checked_neg()?,
                    "Not" => i32::from(x == 0),
                    "Sign" => x.signum(),
                    "Max" | "Min" | "Sum" => x,
                    _ => return None,
                })
            });
            Some(Numbers::Integers(integers.collect::<Option<_>>()?))
        }
        Numbers::Floats(floats) => {
            let floats = floats.iter().map(|&x| {
                Some(match operator {
                    "Abs" => x.abs(),
                    "Ceil" => x.ceil(),
                    "Floor" => x.floor(),
                    "Neg" => -x,
                    "Round" => x.round_ties_even(),
                    "Sqrt" => x.sqrt(),
                    "Max" | "Min" | "Sum" => x,
                    _ => return None,
                })
            });
            Some(Numbers::Floats(floats.collect::<Option<_>>()?))
        }
    }
}

fn binary(operator: &str, a: &Numbers, b: &Numbers) -> Option<Numbers> {
    match (a, b) {
        (Numbers::Integers(a), Numbers::Integers(b)) => {
            Some(Numbers::Integers(zip(a, b, |x, y| {
                integer(operator, x, y)
            })?))
        }
        (Numbers::Floats(a), Numbers::Floats(b)) => match operator {
            "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => {
                Some(Numbers::Integers(zip(a, b, |x, y| {
                    comparison(operator, x, y)
                })?))
            }
            _ => Some(Numbers::Floats(zip(a, b, |x, y| float(operator, x, y))?)),
        },
        _ => None,
    }
}

fn float(operator: &str, x: f32, y: f32) -> Option<f32> {
    Some(match operator {
        "Add" | "Sum" => x + y,
        "Div" => x / y,
        "Max" => x.max(y),
        "Min" => x.min(y),
        "Mul" => x * y,
        "Pow" => x.powf(y),
        "Sub" => x - y,
        _ => return None,
    })
}

fn comparison(operator: &str, x: f32, y: f32) -> Option<i32> {
    Some(i32::from(match operator {
        "Equal" => x == y,
        "Greater" => x > y,
        "GreaterOrEqual" => x >= y,
        "Less" => x < y,
        "LessOrEqual" => x <= y,
        _ => return None,
    }))
}

fn remainder(x: i32, y: i32, truncates: bool) -> Option<i32> {
    let remainder = x.checked_rem(y)?;
    let differs = remainder != 0 && (remainder < 0) != (y < 0);
    Some(match differs && !truncates {
        true => remainder + y,
        false => remainder,
    })
}

fn choose(condition: &Numbers, yes: &Numbers, no: &Numbers) -> Option<Numbers> {
    fn chosen<T: Copy>(condition: &[i32], yes: &[T], no: &[T]) -> Vec<T> {
        let choices = condition.iter().zip(yes.iter().zip(no));
        choices
            .map(|(&condition, (&yes, &no))| match condition {
                0 => no,
                _ => yes,
            })
            .collect()
    }
    match (condition, yes, no) {
        (Numbers::Integers(condition), Numbers::Integers(yes), Numbers::Integers(no)) => {
            Some(Numbers::Integers(chosen(condition, yes, no)))
        }
        (Numbers::Integers(condition), Numbers::Floats(yes), Numbers::Floats(no)) => {
            Some(Numbers::Floats(chosen(condition, yes, no)))
        }
        _ => None,
    }
}

fn zip<T: Copy, U>(a: &[T], b: &[T], f: impl Fn(T, T) -> Option<U>) -> Option<Vec<U>> {
    let pairs = a.iter().zip(b);
    pairs.map(|(&x, &y)| f(x, y)).collect()
}

/// Returns the numbers that `Range` yields, as far as they are followed, and their count.
///
/// rten adds the step again and again. In floats, a small step does not change a large number, and the range
/// would never end.
pub(super) fn float_range(start: f32, limit: f32, step: f32) -> Option<(Vec<f32>, usize)> {
    /// The maximum length of a range of floats.
    const MAX_LENGTH: usize = 1 << 20;
    let mut numbers = Vec::new();
    let mut count = 0;
    let mut number = start;
    while (step > 0.0 && number < limit) || (step < 0.0 && number > limit) {
        if count == MAX_LENGTH {
            return None;
        }
        if count < MAX_ELEMENTS {
            numbers.push(number);
        }
        count += 1;
        number += step;
    }
    Some((numbers, count))
}
