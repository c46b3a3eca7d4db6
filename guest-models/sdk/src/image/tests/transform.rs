//! Tests of filters, crops and tensor formats, against values that Pillow 12 and NumPy compute.

use super::*;

/// Returns seven by five pixels by a formula that Python repeats.
fn pattern() -> Result<Image> {
    let positions = (0..5_u32).flat_map(|y| (0..7).map(move |x| (x, y)));
    let samples = positions.flat_map(|(x, y)| {
        (0..3).map(move |channel| {
            (x * 37 + y * 91 + channel * 53 + (x * y) % 7 * 29).to_le_bytes()[0]
        })
    });
    Image::new(7, 5, Colour::Rgb, samples.collect())
}

#[test]
fn a_triangle_filter_gives_the_values_of_pillow() -> Result<()> {
    // `Image.resize(size, Image.BILINEAR)`
    let reduced = pattern()?.resize_with(3, 2, Filter::Triangle)?;
    assert_eq!(
        reduced.samples(),
        [
            96, 127, 114, 119, 123, 151, 166, 147, 95, 84, 117, 145, 124, 120, 125, 146, 115, 109
        ]
    );
    let narrowed = pattern()?.resize_with(4, 5, Filter::Triangle)?;
    assert_eq!(
        narrowed.samples()[..24],
        [
            19, 72, 125, 77, 130, 183, 145, 198, 200, 203, 122, 65, 126, 166, 110, 157, 76, 78, 94,
            147, 149, 196, 115, 59
        ]
    );
    // Pillow rounds its weights too, which makes a difference of one in 12 of all samples.
    let enlarged = pattern()?.resize_with(10, 8, Filter::Triangle)?;
    let pillow = [
        154, 207, 84, 104, 157, 87, 85, 118, 111, 145, 122, 171, 153, 64, 117, 136, 75, 128, 106,
        159, 199, 166, 219, 80, 148, 164, 77, 98, 71, 124,
    ];
    let row = &enlarged.samples()[3 * 30..4 * 30];
    for (sample, pillow) in row.iter().zip(pillow) {
        assert!(sample.abs_diff(pillow) <= 1, "{row:?}");
    }
    Ok(())
}

#[test]
fn an_area_filter_gives_the_values_of_pillow_where_areas_are_whole_pixels() -> Result<()> {
    // `Image.resize((2, 1), Image.BOX)` of the left upper corner.
    let corner = pattern()?.crop(0..6, 0..4)?;
    let area = corner.resize_with(2, 1, Filter::Area)?;
    assert_eq!(area, corner.resize(2, 1)?);
    assert_eq!(area.samples(), [89, 121, 131, 144, 154, 122]);
    Ok(())
}

#[test]
fn a_bilinear_filter_interpolates_between_four_pixels_at_every_size() -> Result<()> {
    // The values of NumPy before they are rounded, once for each axis here.
    let exact = [
        107.417, 160.417, 85.417, 52.5, 105.5, 158.5, 189.583, 157.25, 39.583, 84.583, 137.583,
        190.583, 166.5, 219.5, 80.5, 188.833, 71.167, 102.833,
    ];
    let reduced = pattern()?.resize_with(3, 2, Filter::Bilinear)?;
    for (sample, exact) in reduced.samples().iter().zip(exact) {
        assert!((f32::from(*sample) - exact).abs() < 1.0, "{reduced:?}");
    }
    // If nothing is reduced, both kinds of interpolation are the same.
    let enlarged = pattern()?.resize_with(9, 11, Filter::Bilinear)?;
    assert_eq!(enlarged, pattern()?.resize_with(9, 11, Filter::Triangle)?);
    Ok(())
}

#[test]
fn a_flat_image_stays_flat_with_every_filter() -> Result<()> {
    let image = Image::new(7, 5, Colour::Grey, vec![201; 35])?;
    for filter in [Filter::Area, Filter::Triangle, Filter::Bilinear] {
        for size in 1..20 {
            let resized = image.resize_with(size, 20 - size, filter)?;
            let is_flat = resized.samples().iter().all(|sample| *sample == 201);
            assert!(is_flat, "{filter:?} {size}");
        }
        assert_eq!(image.resize_with(7, 5, filter)?, image);
        let refusal = image.resize_with(7, 65_536, filter).unwrap_err();
        assert_eq!(refusal.fault(), Fault::Handler);
    }
    Ok(())
}

#[test]
fn a_crop_is_within_the_image() -> Result<()> {
    let image = Image::new(3, 2, Colour::Grey, vec![1, 2, 3, 4, 5, 6])?;
    assert_eq!(image.crop(1..3, 0..2)?.samples(), [2, 3, 5, 6]);
    assert_eq!(image.crop(0..3, 1..2)?.samples(), [4, 5, 6]);
    for (columns, rows) in [(0..4, 0..2), (0..3, 2..2), (0..0, 0..1), (0..1, 1..3)] {
        let refusal = image.crop(columns, rows).unwrap_err();
        assert_eq!(refusal.fault(), Fault::Handler);
    }
    Ok(())
}

#[test]
fn a_center_crop_divides_odd_margins_as_torchvision_does() -> Result<()> {
    // `int(round((length - cropped) / 2.0))`
    for (length, start) in [
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 2),
        (5, 2),
        (6, 2),
        (7, 3),
        (8, 4),
    ] {
        let line = Image::new(length, 1, Colour::Grey, (0..8).take(length).collect())?;
        assert_eq!(line.center_crop(1, 1)?.samples(), [start], "{length}");
    }
    let line = Image::new(2, 1, Colour::Grey, vec![0; 2])?;
    let refusal = line.center_crop(2, 3).unwrap_err();
    assert_eq!(refusal, Error::client("image of 2x1 pixels, less than 2x3"));
    assert_eq!(line.center_crop(0, 1).unwrap_err().fault(), Fault::Handler);
    Ok(())
}

#[test]
fn the_shorter_side_gets_its_length_and_the_longer_one_is_cut_to_whole_pixels() -> Result<()> {
    let image = pattern()?;
    let resized = image.resize_shorter_side(4, Filter::Area)?;
    assert_eq!((resized.width(), resized.height()), (5, 4));
    let tall = Image::new(2, 5, Colour::Grey, vec![9; 10])?.resize_shorter_side(3, Filter::Area)?;
    assert_eq!((tall.width(), tall.height()), (3, 7));
    let long = Image::new(4000, 1, Colour::Grey, vec![9; 4000])?;
    let refusal = long.resize_shorter_side(224, Filter::Area).unwrap_err();
    assert_eq!(refusal.fault(), Fault::Client);
    for length in [0, 65_536] {
        let refusal = image.resize_shorter_side(length, Filter::Area).unwrap_err();
        assert_eq!(refusal.fault(), Fault::Handler, "{length}");
    }
    Ok(())
}

#[test]
fn a_letterbox_has_its_bars_on_two_sides() -> Result<()> {
    let image = Image::new(2, 4, Colour::Rgb, vec![7; 24])?;
    let fitted = image.letterbox(5, 4, 114)?;
    assert_eq!((fitted.left, fitted.top, fitted.scale), (1, 0, 1.0));
    let line: [u8; 15] = [
        114, 114, 114, 7, 7, 7, 7, 7, 7, 114, 114, 114, 114, 114, 114,
    ];
    assert_eq!(fitted.image.samples(), line.repeat(4));
    // A line keeps one pixel.
    let line = Image::new(100, 1, Colour::Grey, vec![7; 100])?.letterbox(10, 3, 0)?;
    assert_eq!(line.image.samples()[10..20], [7; 10]);
    assert_eq!((line.top, line.to_source(5.0, 1.0)), (1, (50.0, 0.0)));
    for (width, height) in [(0, 4), (4, 0)] {
        let refusal = image.letterbox(width, height, 0).unwrap_err();
        assert_eq!(refusal.fault(), Fault::Handler);
    }
    Ok(())
}

#[test]
fn a_tensor_has_the_layout_order_and_scale_of_its_format() -> Result<()> {
    let image = Image::new(2, 1, Colour::Rgb, vec![0, 51, 102, 153, 204, 255])?;
    let nchw = PixelFormat::nchw();
    for (format, expected) in [
        (nchw, [0.0, 0.6, 0.2, 0.8, 0.4, 1.0]),
        (PixelFormat::nhwc(), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (nchw.bgr(), [0.4, 1.0, 0.2, 0.8, 0.0, 0.6]),
        (PixelFormat::nhwc().bgr(), [0.4, 0.2, 0.0, 1.0, 0.8, 0.6]),
        (nchw.unscaled(), [0.0, 153.0, 51.0, 204.0, 102.0, 255.0]),
        (
            PixelFormat::nhwc()
                .bgr()
                .unscaled()
                .mean_std([2.0, 1.0, 0.0], [1.0, 2.0, 1.0]),
            [100.0, 25.0, 0.0, 253.0, 101.5, 153.0],
        ),
        (
            nchw.mean_std([0.5; 3], [0.5; 3]),
            [-1.0, 0.2, -0.6, 0.6, -0.2, 1.0],
        ),
    ] {
        let row = format.row(&image);
        let is_near = |(value, expected): (&f32, f32)| (value - expected).abs() < 1e-6;
        assert!(
            row.len() == 6 && row.iter().zip(expected).all(is_near),
            "{row:?}"
        );
    }
    let grey = Image::new(2, 1, Colour::Grey, vec![0, 255])?;
    for format in [nchw, PixelFormat::nhwc().bgr()] {
        let row = format.mean_std([1.0, 9.0, 9.0], [2.0, 9.0, 9.0]).row(&grey);
        assert_eq!(row, [-0.5, 0.0]);
    }
    Ok(())
}
