// Speed of an upload. Pure.

/**
 * Returns bytes per second between the first and the last sample; null if they are less than 200 ms
 * apart.
 */
export function averageSpeed(samples: readonly { at: number; bytes: number }[]): number | null {
  const first = samples[0]
  const last = samples[samples.length - 1]
  if (!first || !last || last.at - first.at < 200) return null
  return Math.max(0, ((last.bytes - first.bytes) * 1000) / (last.at - first.at))
}
