//! H264 and AAC encoders that write into an MP4 file.

use std::path::Path;

use ffmpeg_next::codec::{self, Id};
use ffmpeg_next::format::context::Output;
use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::{ChannelLayout, Dictionary, Packet, Rational, encoder, format, frame};

use crate::audio::SAMPLE_RATE;
use crate::error::Error;
use crate::video::MILLISECONDS;

/// AAC bit rate in bit/s: good for speech and some music.
const AUDIO_BIT_RATE: usize = 128_000;

/// Creates an MP4 file; the caller adds streams and then writes the header.
pub fn create(path: &Path) -> Result<Output, Error> {
    format::output_as(path, "mp4").map_err(Error::output(path))
}

/// H264 encoder (libx264) with a time base of milliseconds.
pub struct VideoEncoder {
    encoder: encoder::video::Encoder,
    stream: usize,
}

impl VideoEncoder {
    /// Adds an H264 stream to `file`. `keyframe_every` is the longest GOP in frames.
    pub fn add(
        file: &mut Output,
        width: u32,
        height: u32,
        keyframe_every: u32,
    ) -> Result<VideoEncoder, Error> {
        let codec = encoder::find_by_name("libx264").ok_or(Error::MissingCodec("libx264"))?;
        let mut encoder = codec::context::Context::new_with_codec(codec)
            .encoder()
            .video()?;
        encoder.set_width(width);
        encoder.set_height(height);
        encoder.set_format(format::Pixel::YUV420P);
        encoder.set_time_base(MILLISECONDS);
        encoder.set_frame_rate(Some(Rational(25, 1)));
        encoder.set_gop(keyframe_every);
        encoder.set_max_b_frames(0);
        encoder.set_flags(codec::Flags::GLOBAL_HEADER);
        let mut options = Dictionary::new();
        options.set("preset", "veryfast");
        options.set("crf", "25");
        options.set("forced-idr", "1");
        options.set("threads", &threads().to_string());
        let encoder = encoder.open_with(options)?;
        let mut stream = file.add_stream(codec)?;
        stream.set_time_base(MILLISECONDS);
        stream.set_parameters(&encoder);
        Ok(VideoEncoder {
            encoder,
            stream: stream.index(),
        })
    }

    /// Encodes a frame; one with picture type I becomes a keyframe.
    pub fn encode(
        &mut self,
        mut frame: frame::Video,
        time_ms: i64,
        file: &mut Output,
    ) -> Result<(), Error> {
        frame.set_pts(Some(time_ms));
        self.encoder.send_frame(&frame)?;
        self.write_packets(file)
    }

    /// Flushes the encoder into `file`.
    pub fn finish(&mut self, file: &mut Output) -> Result<(), Error> {
        self.encoder.send_eof()?;
        self.write_packets(file)
    }

    fn write_packets(&mut self, file: &mut Output) -> Result<(), Error> {
        let mut packet = Packet::empty();
        while self.encoder.receive_packet(&mut packet).is_ok() {
            write(packet.clone(), self.stream, MILLISECONDS, file)?;
        }
        Ok(())
    }
}

/// Encoder threads: one per core. The limit of 8 keeps within the address space of the sandbox.
fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, |cores| cores.get())
        .min(8)
}

/// AAC encoder, stereo at [`SAMPLE_RATE`].
pub struct AudioEncoder {
    encoder: encoder::audio::Encoder,
    stream: usize,
    skips_priming: bool,
}

impl AudioEncoder {
    /// Adds an AAC stream to `file`.
    pub fn add(file: &mut Output) -> Result<AudioEncoder, Error> {
        let codec = encoder::find(Id::AAC).ok_or(Error::MissingCodec("an AAC encoder"))?;
        let mut encoder = codec::context::Context::new_with_codec(codec)
            .encoder()
            .audio()?;
        encoder.set_rate(SAMPLE_RATE as i32);
        encoder.set_channel_layout(ChannelLayout::STEREO);
        encoder.set_format(Sample::F32(Type::Planar));
        encoder.set_bit_rate(AUDIO_BIT_RATE);
        encoder.set_time_base((1, SAMPLE_RATE as i32));
        encoder.set_flags(codec::Flags::GLOBAL_HEADER);
        let encoder = encoder.open_as(codec)?;
        let mut stream = file.add_stream(codec)?;
        stream.set_time_base((1, SAMPLE_RATE as i32));
        stream.set_parameters(&encoder);
        Ok(AudioEncoder {
            encoder,
            stream: stream.index(),
            skips_priming: false,
        })
    }

    /// Drops the priming packet before time zero. A plain MP4 has an edit list that skips it; a
    /// fragmented one has none, so the packet would delay all audio.
    pub fn skip_priming(&mut self) {
        self.skips_priming = true;
    }

    /// Samples per channel of one encoder frame.
    pub fn frame_size(&self) -> usize {
        self.encoder.frame_size() as usize
    }

    /// Encodes one frame of samples; `position` is in samples since the start of the lesson.
    pub fn encode(
        &mut self,
        position: i64,
        left: &[f32],
        right: &[f32],
        file: &mut Output,
    ) -> Result<(), Error> {
        let mut frame =
            frame::Audio::new(Sample::F32(Type::Planar), left.len(), ChannelLayout::STEREO);
        frame.set_rate(SAMPLE_RATE);
        frame.plane_mut::<f32>(0).copy_from_slice(left);
        frame.plane_mut::<f32>(1).copy_from_slice(right);
        frame.set_pts(Some(position));
        self.encoder.send_frame(&frame)?;
        self.write_packets(file)
    }

    /// Flushes the encoder into `file`.
    pub fn finish(&mut self, file: &mut Output) -> Result<(), Error> {
        self.encoder.send_eof()?;
        self.write_packets(file)
    }

    fn write_packets(&mut self, file: &mut Output) -> Result<(), Error> {
        let mut packet = Packet::empty();
        while self.encoder.receive_packet(&mut packet).is_ok() {
            let priming = packet.pts().is_some_and(|pts| pts < 0);
            if !(priming && self.skips_priming) {
                write(
                    packet.clone(),
                    self.stream,
                    Rational(1, SAMPLE_RATE as i32),
                    file,
                )?;
            }
        }
        Ok(())
    }
}

/// Writes a packet to a stream of `file`; the muxer interleaves the streams.
pub fn write(
    mut packet: Packet,
    stream: usize,
    time_base: Rational,
    file: &mut Output,
) -> Result<(), Error> {
    let target = file
        .stream(stream)
        .expect("the encoder added the stream before the header")
        .time_base();
    packet.set_stream(stream);
    packet.rescale_ts(time_base, target);
    packet.set_position(-1);
    packet.write_interleaved(file)?;
    Ok(())
}
