// What a file is known by, worked out beside the page so that nothing on it stands still.

/**
 * The SHA-256 of a file in hexadecimal digits. `onRead` is told of bytes read and may stop it by giving false; then the answer is null.
 * It is null as well where a browser cannot run the worker: the server finds duplicates too, only later. An error: the file cannot be read.
 */
export function sha256Of(file: File, onRead: (bytes: number) => boolean): Promise<string | null> {
  const worker = new Worker(new URL('./digest.worker.ts', import.meta.url), { type: 'module' })
  const answer = new Promise<string | null>((resolve, reject) => {
    worker.onmessage = ({
      data,
    }: MessageEvent<{ read?: number; sha256?: string; failed?: string }>) => {
      if (data.sha256) resolve(data.sha256)
      else if (data.failed) reject(new Error(data.failed))
      else if (!onRead(data.read ?? 0)) resolve(null)
    }
    worker.onerror = () => resolve(null)
    worker.postMessage(file)
  })
  return answer.finally(() => worker.terminate())
}
