//! Operators on sizes: the vectors of integers from which graphs make the shapes of other values.

use super::content;
use super::operator::{Operator, Outputs, axis_of};
use super::product::{Product, Symbols};
use super::value::{MAX_ELEMENTS, Sizes, Value};
use crate::pb::tensor_proto::DataType;

/// Returns the output of an operator on sizes; `None` if it is another one, or cannot be followed.
pub(super) fn infer(operator: &mut Operator<'_>) -> Outputs {
    let sizes = match operator.node.op_type.as_str() {
        "Shape" => shape(operator),
        "Size" => size(operator),
        "Gather" => gather(operator),
        "Slice" => slice(operator),
        "Concat" => concat(operator),
        "Identity" => operator.sizes(0).cloned(),
        "Cast" => cast(operator),
        "Squeeze" => squeeze(operator),
        "Unsqueeze" => unsqueeze(operator),
        "Reshape" => reshape(operator),
        "ReduceProd" => product(operator),
        "ConstantOfShape" => filled(operator),
        "Range" => range(operator),
        "Where" => choose(operator),
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Min" | "Max" | "Equal" => combined(operator),
        _ => None,
    };
    Some(vec![Value::Sizes(sizes?)])
}

fn shape(operator: &Operator<'_>) -> Option<Sizes> {
    let sizes = operator.input(0)?.shape()?;
    let rank = i64::try_from(sizes.len()).ok()?;
    let bound = |name: &str, default: i64| {
        let number = operator.integer(name, default);
        let number = if number < 0 { number + rank } else { number };
        usize::try_from(number.clamp(0, rank)).ok()
    };
    let (start, end) = (bound("start", 0)?, bound("end", rank)?);
    let sizes = sizes.get(start..end).unwrap_or_default();
    Sizes::new(sizes.iter().cloned().map(Some).collect(), false)
}

fn size(operator: &Operator<'_>) -> Option<Sizes> {
    let sizes = operator.input(0)?.shape()?;
    Sizes::new(vec![Product::of_all(&sizes)], true)
}

fn gather(operator: &Operator<'_>) -> Option<Sizes> {
    let (sizes, indices) = (vector(operator, 0)?, operator.sizes(1)?);
    let picked = indices.numbers()?.into_iter().map(|index| {
        let index = axis_of(index, sizes.elements.len())?;
        Some(sizes.elements[index].clone())
    });
    Sizes::new(picked.collect::<Option<_>>()?, indices.is_scalar)
}

fn slice(operator: &Operator<'_>) -> Option<Sizes> {
    let sizes = vector(operator, 0)?;
    let bound = |name: &str, position: usize| match operator.list(name) {
        Some(numbers) => Some(numbers.to_vec()),
        None => operator.integers(position),
    };
    let length = i64::try_from(sizes.elements.len()).ok()?;
    let (starts, ends) = (bound("starts", 1)?, bound("ends", 2)?);
    let ([start], [end]) = (starts.as_slice(), ends.as_slice()) else {
        return None;
    };
    let is_other_axis = operator.has_axes(3) && !matches!(&*operator.axis_numbers(3)?, [0 | -1]);
    let is_stepped = operator.input(4).is_some() && operator.integers(4)? != [1];
    if is_other_axis || is_stepped {
        return None;
    }
    let position = |number: i64| {
        let number = if number < 0 { number + length } else { number };
        usize::try_from(number.clamp(0, length)).ok()
    };
    let picked = sizes.elements.get(position(*start)?..position(*end)?);
    Sizes::new(picked.unwrap_or_default().to_vec(), false)
}

fn concat(operator: &mut Operator<'_>) -> Option<Sizes> {
    let mut elements = Vec::new();
    let inputs = operator.inputs.clone();
    // Without any sizes among them, these are tensors of another kind.
    inputs.iter().flatten().find(|input| is_sizes(input))?;
    for input in inputs {
        let sizes = as_sizes(input?, operator.symbols)?;
        if sizes.is_scalar {
            return None;
        }
        elements.extend(sizes.elements);
    }
    Sizes::new(elements, false)
}

fn cast(operator: &Operator<'_>) -> Option<Sizes> {
    let keeps = [DataType::Int64 as i32, DataType::Int32 as i32];
    let to = i32::try_from(operator.integer("to", 0)).ok()?;
    let sizes = operator.sizes(0)?;
    keeps.contains(&to).then(|| sizes.clone())
}

fn squeeze(operator: &Operator<'_>) -> Option<Sizes> {
    let sizes = vector(operator, 0)?;
    let is_first = !operator.has_axes(1) || matches!(&*operator.axis_numbers(1)?, [0 | -1]);
    let is_single = sizes.elements.len() == 1;
    (is_first && is_single).then(|| Sizes {
        is_scalar: true,
        ..sizes.clone()
    })
}

fn unsqueeze(operator: &Operator<'_>) -> Option<Sizes> {
    let sizes = operator.sizes(0)?;
    let is_first = matches!(&*operator.axis_numbers(1)?, [0 | -1]);
    (is_first && sizes.is_scalar).then(|| Sizes {
        is_scalar: false,
        ..sizes.clone()
    })
}

fn reshape(operator: &Operator<'_>) -> Option<Sizes> {
    let (sizes, shape) = (operator.sizes(0)?, operator.sizes(1)?);
    let is_scalar = match shape.numbers()?.as_slice() {
        [] => true,
        [length] => {
            let fits = *length == -1 || usize::try_from(*length) == Ok(sizes.elements.len());
            if !fits {
                return None;
            }
            false
        }
        _ => return None,
    };
    Sizes::new(sizes.elements.clone(), is_scalar)
}

fn product(operator: &Operator<'_>) -> Option<Sizes> {
    let sizes = vector(operator, 0)?;
    if operator.has_axes(1) && !matches!(&*operator.axis_numbers(1)?, [0 | -1]) {
        return None;
    }
    let factors: Option<Vec<Product>> = sizes.elements.iter().cloned().collect();
    let keeps_axis = operator.integer("keepdims", 1) != 0;
    Sizes::new(vec![Product::of_all(&factors?)], !keeps_axis)
}

/// Returns the elements of a vector with one integer at each place.
fn filled(operator: &Operator<'_>) -> Option<Sizes> {
    let length = match operator.integers(0)?.as_slice() {
        [] => None,
        [length] => Some(usize::try_from(*length).ok()?),
        _ => return None,
    };
    let value = operator.attribute("value")?.t.as_ref()?;
    let [value] = *content::integers(value)? else {
        return None;
    };
    match length {
        None => Sizes::of_numbers(&[value], true),
        Some(length) if length <= MAX_ELEMENTS => Sizes::of_numbers(&vec![value; length], false),
        Some(_) => None,
    }
}

fn range(operator: &Operator<'_>) -> Option<Sizes> {
    let number = |position: usize| match *operator.integers(position)? {
        [number] => Some(i128::from(number)),
        _ => None,
    };
    let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
    if step == 0 {
        return None;
    }
    let is_within = |number: &i128| match step > 0 {
        true => *number < limit,
        false => *number > limit,
    };
    let numbers = std::iter::successors(Some(start), |number| Some(number + step));
    let numbers = numbers.take_while(is_within).take(MAX_ELEMENTS + 1);
    let numbers: Option<Vec<i64>> = numbers.map(|number| i64::try_from(number).ok()).collect();
    Sizes::of_numbers(&numbers?, false)
}

fn choose(operator: &mut Operator<'_>) -> Option<Sizes> {
    let [condition, yes, no] = operands(operator)?;
    elementwise(&[&condition, &yes, &no], |elements| {
        let [condition, yes, no] = elements else {
            return None;
        };
        match condition.as_ref().and_then(Product::as_number) {
            Some(0) => (*no).clone(),
            Some(_) => (*yes).clone(),
            None if yes == no => (*yes).clone(),
            None => None,
        }
    })
}

fn combined(operator: &mut Operator<'_>) -> Option<Sizes> {
    let kind = operator.node.op_type.as_str();
    let [a, b] = operands(operator)?;
    elementwise(&[&a, &b], |elements| {
        let [Some(a), Some(b)] = elements else {
            return None;
        };
        let is_constant = !a.depends_on_rows() && !b.depends_on_rows();
        let exact = combine(kind, a, b);
        exact.or_else(|| is_constant.then(|| operator.symbols.number()))
    })
}

/// Returns the result of an operator on two numbers, if it is known.
fn combine(kind: &str, a: &Product, b: &Product) -> Option<Product> {
    let numbers = a.as_number().zip(b.as_number());
    let number = match (kind, numbers) {
        ("Add", _) => return a.plus(b),
        ("Sub", _) => return a.plus(&b.negated()?),
        ("Mul", _) => return a.times(b),
        ("Div", Some((a, b))) => a.checked_div(b),
        ("Div", None) => return a.divided_by(b),
        ("Mod", Some((a, b))) if a >= 0 => a.checked_rem(b).filter(|_| b > 0),
        ("Min", Some((a, b))) => Some(a.min(b)),
        ("Max", Some((a, b))) => Some(a.max(b)),
        ("Equal", Some((a, b))) => Some(i64::from(a == b)),
        ("Equal", None) if a == b => Some(1),
        ("Equal", None) => {
            let differ = |size: &Product, other: &Product| {
                size.is_size() && other.as_number().is_some_and(|number| number < 0)
            };
            (differ(a, b) || differ(b, a)).then_some(0)
        }
        _ => None,
    };
    number.map(Product::of)
}

/// Returns all inputs as sizes, if one of them is known to be.
fn operands<const N: usize>(operator: &mut Operator<'_>) -> Option<[Sizes; N]> {
    let inputs = operator.inputs.clone();
    inputs.iter().flatten().find(|input| is_sizes(input))?;
    let operands = inputs
        .into_iter()
        .map(|input| as_sizes(input?, operator.symbols));
    let operands: Option<Vec<Sizes>> = operands.collect();
    operands?.try_into().ok()
}

/// Returns the sizes that `f` makes of the elements of all operands at each place.
fn elementwise(
    operands: &[&Sizes],
    mut f: impl FnMut(&[&Option<Product>]) -> Option<Product>,
) -> Option<Sizes> {
    let is_scalar = operands.iter().all(|operand| operand.is_scalar);
    let lengths = operands.iter().map(|operand| operand.elements.len());
    let length = lengths.clone().find(|length| *length != 1).unwrap_or(1);
    if lengths.clone().any(|other| other != 1 && other != length) {
        return None;
    }
    let elements = (0..length).map(|place| {
        let elements: Vec<&Option<Product>> = operands
            .iter()
            .map(|operand| &operand.elements[place.min(operand.elements.len() - 1)])
            .collect();
        f(&elements)
    });
    Sizes::new(elements.collect(), is_scalar)
}

/// Returns the sizes at this position if they are a vector.
fn vector<'a>(operator: &Operator<'a>, position: usize) -> Option<&'a Sizes> {
    operator.sizes(position).filter(|sizes| !sizes.is_scalar)
}

fn is_sizes(value: &Value) -> bool {
    matches!(value, Value::Sizes(_))
}

/// Returns a value as sizes. A short vector of unknown integers has an unknown number at each place.
fn as_sizes(value: &Value, symbols: &mut Symbols) -> Option<Sizes> {
    match value {
        Value::Sizes(sizes) => Some(sizes.clone()),
        Value::Tensor(tensor) if tensor.rows().is_none() => {
            let (length, is_scalar) = match tensor.sizes() {
                [] => (1, true),
                [length] => (usize::try_from(length.as_number()?).ok()?, false),
                _ => return None,
            };
            if length > MAX_ELEMENTS {
                return None;
            }
            let elements = (0..length).map(|_| Some(symbols.number()));
            Sizes::new(elements.collect(), is_scalar)
        }
        Value::Tensor(_) | Value::Constant | Value::Mixed(_) => None,
    }
}
