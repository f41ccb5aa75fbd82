/* Lists, reads, hashes and decodes blocks of small JPEG files; loaded by library.py with ctypes.

   It only does what cannot go wrong: a file with any fault, warning, EXIF, unusual sampling or colour space is
   marked REST, and Python does it from the start. So every message and every odd file has one implementation.
   ctypes releases the interpreter's lock while a function runs. No function keeps state. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>

#ifndef LIBJPEG_TURBO_VERSION
#error "libjpeg-turbo is needed: other libraries give other pixels"
#endif

#define ABI 2 /* raise it when an argument changes; library.py has the same number */
#define REST 0
#define DONE 1
#define DIGEST 32
#define APP1 (JPEG_APP0 + 1)
#define APP2 (JPEG_APP0 + 2)
#define HEAD 11 /* bytes of these segments that are looked at */
#define MAX_PATH 4096
#define HEX "0123456789abcdef"

typedef unsigned char *(*sha256_function)(const unsigned char *, size_t, unsigned char *);

typedef struct {
    int32_t height, width;        /* that images are scaled to later; 0: none is scaled */
    int32_t is_pad;               /* 1: only the longer side is scaled to it */
    int32_t max_pixels, min_side; /* images beyond these are REST */
    double oversample;            /* pixels that DCT scaling leaves for each pixel of height and width */
} target_t;

typedef struct {
    int32_t status, height, width, channels; /* of the pixels in the arena */
    int32_t original_height, original_width;
    int64_t offset; /* of the pixels in the arena */
} result_t;

/* Files of a block, in the form of an Arrow array of strings. */
typedef struct {
    const char *root;    /* the folder that the paths are relative to */
    const char *text;    /* the paths, one after the other */
    const int32_t *ends; /* count + 1: where each starts, and the last one ends */
    const int64_t *sizes;
    const int64_t *stamps; /* count x 2: modification and change time in ns; only where contents are kept */
} files_t;

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf escape;
} error_t;

static void leave(j_common_ptr info) { longjmp(((error_t *)info->err)->escape, 1); }

/* A warning: libjpeg goes on, the caller does not. */
static void note(j_common_ptr info, int level) {
    if (level < 0) leave(info);
}

static void say_nothing(j_common_ptr info) { (void)info; }

static int begins_with(jpeg_saved_marker_ptr marker, int code, const char *text, size_t bytes) {
    return marker->marker == code && marker->data_length >= bytes && !memcmp(marker->data, text, bytes);
}

/* EXIF may turn the image. simplejpeg refuses a colour profile that is not complete. */
static int has_exif_or_profile(j_decompress_ptr info) {
    for (jpeg_saved_marker_ptr marker = info->marker_list; marker; marker = marker->next)
        if (begins_with(marker, APP1, "Exif\0\0", 6) || begins_with(marker, APP2, "ICC_PROFILE", 11)) return 1;
    return 0;
}

/* The samplings that TurboJPEG has a name for: 4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1; and any of grey. */
static int is_usual(j_decompress_ptr info) {
    if (info->data_precision != 8 || info->arith_code) return 0;
    if (info->jpeg_color_space == JCS_GRAYSCALE) return info->num_components == 1;
    if (info->num_components != 3) return 0;
    if (info->jpeg_color_space != JCS_YCbCr && info->jpeg_color_space != JCS_RGB) return 0;
    for (int part = 1; part < 3; part++)
        if (info->comp_info[part].h_samp_factor != 1 || info->comp_info[part].v_samp_factor != 1) return 0;
    int across = info->comp_info[0].h_samp_factor, down = info->comp_info[0].v_samp_factor;
    return (across <= 2 && down <= 2) || (across == 4 && down == 1);
}

static int64_t scaled(int64_t size, int eighths) { return (size * eighths + 7) / 8; }

/* A side of a whole image that is scaled into the target: rounded, at least 1; decode.padded_size. */
static int64_t padded(int64_t side, int64_t other, int64_t new_other) {
    int64_t rounded = (2 * side * new_other + other) / (2 * other);
    return rounded > 1 ? rounded : 1;
}

static int64_t rounded_up(double value) { return (int64_t)value + ((int64_t)value < value); }

/* The smallest of 1/8, 1/4, 3/8, 1/2 that leaves enough, else 8/8: simplejpeg's choice with min_factor=2. */
static int eighths_of(int64_t height, int64_t width, const target_t *target) {
    int64_t least_height = target->height, least_width = target->width;
    if (!least_height) return 8;
    if (target->is_pad && height * least_width <= width * least_height)
        least_height = padded(height, width, least_width);
    else if (target->is_pad)
        least_width = padded(width, height, least_height);
    least_height = rounded_up(least_height * target->oversample);
    least_width = rounded_up(least_width * target->oversample);
    for (int eighths = 1; eighths <= 4; eighths++)
        if (scaled(height, eighths) >= least_height && scaled(width, eighths) >= least_width) return eighths;
    return 8;
}

/* Bytes written at `pixels`; 0 if the file is REST; -1 if there is no room. */
static int64_t decode(const unsigned char *content, size_t size, const target_t *target, unsigned char *pixels,
                      int64_t room, result_t *result) {
    struct jpeg_decompress_struct info = {0};
    error_t errors;
    volatile int64_t written = 0;
    if (size < 4 || content[0] != 0xFF || content[1] != 0xD8) return 0;
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = leave;
    errors.base.emit_message = note;
    errors.base.output_message = say_nothing;
    if (setjmp(errors.escape)) {
        jpeg_destroy_decompress(&info);
        return 0;
    }
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, content, size);
    jpeg_save_markers(&info, APP1, HEAD);
    jpeg_save_markers(&info, APP2, HEAD);
    jpeg_read_header(&info, TRUE);
    int height = info.image_height, width = info.image_width;
    if ((int64_t)height * width <= target->max_pixels && height >= target->min_side &&
        width >= target->min_side && is_usual(&info) && !has_exif_or_profile(&info)) {
        int is_grey = info.jpeg_color_space == JCS_GRAYSCALE;
        info.out_color_space = is_grey ? JCS_GRAYSCALE : JCS_RGB;
        info.dct_method = JDCT_ISLOW;
        info.scale_num = eighths_of(height, width, target);
        info.scale_denom = 8;
        jpeg_calc_output_dimensions(&info);
        int64_t stride = (int64_t)info.output_width * (is_grey ? 1 : 3), all = stride * info.output_height;
        if (all > room) {
            written = -1;
        } else {
            jpeg_start_decompress(&info);
            while (info.output_scanline < info.output_height) {
                JSAMPROW rows[16];
                for (int row = 0; row < 16; row++) rows[row] = pixels + stride * (info.output_scanline + row);
                JDIMENSION left = info.output_height - info.output_scanline;
                jpeg_read_scanlines(&info, rows, left < 16 ? left : 16);
            }
            jpeg_finish_decompress(&info);
            *result = (result_t){DONE, info.output_height, info.output_width, is_grey ? 1 : 3, height, width, 0};
            written = all;
        }
    }
    jpeg_destroy_decompress(&info);
    return written;
}

/* Where a file's path ends up; NULL if it is too long, or not one. */
static const char *path_of(const files_t *files, int32_t i, char *path) {
    size_t bytes = files->ends[i + 1] - files->ends[i];
    if (!bytes || bytes >= MAX_PATH) return NULL;
    memcpy(path, files->text + files->ends[i], bytes);
    path[bytes] = 0;
    return path;
}

/* Reads a file whose size is known. Returns 0 if it has another size, or cannot be read. */
static int read_file(int folder, const files_t *files, int32_t i, unsigned char *content) {
    char room[MAX_PATH];
    const char *path = path_of(files, i, room);
    size_t size = files->sizes[i], have = 0;
    int file = path ? openat(folder, path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got;
    if (file < 0) return 0;
    while ((got = read(file, content + have, size + 1 - have)) > 0) {
        have += got;
        if (have >= size) break;
    }
    close(file);
    return got > 0 && have == size;
}

/* Times after the year 2262 are the last one of 64 bits, as in file_stats.py. */
static int64_t ns(struct timespec time) {
    int64_t limit = INT64_MAX / 1000000000, rest = INT64_MAX % 1000000000;
    if (time.tv_sec > limit || (time.tv_sec == limit && time.tv_nsec > rest)) return INT64_MAX;
    if (time.tv_sec < -limit) return -INT64_MAX;
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Whether a file still has the size and times with which its content was read. */
static int is_unchanged(int folder, const files_t *files, int32_t i) {
    char room[MAX_PATH];
    const char *path = path_of(files, i, room);
    struct stat found;
    return path && !fstatat(folder, path, &found, 0) && found.st_size == files->sizes[i] &&
           ns(found.st_mtim) == files->stamps[2 * i] && ns(found.st_ctim) == files->stamps[2 * i + 1];
}

static size_t largest_of(int32_t count, const int64_t *sizes) {
    size_t largest = 0;
    for (int32_t i = 0; i < count; i++) largest = (size_t)sizes[i] > largest ? (size_t)sizes[i] : largest;
    return largest;
}

int32_t plumbline_abi(void) { return ABI; }

/* SHA-256 of files of known size. A file that cannot be read, or has another size, is REST.

   digits: count x 64 hexadecimal digits; left as they are for REST. kept: NULL, or room for all contents, one
   after the other, and a byte more. Returns 0 if there is no memory, or no such folder. */
int32_t plumbline_hash_files(int32_t count, const files_t *files, sha256_function sha256, char *digits,
                             unsigned char *kept) {
    unsigned char *content = kept ? kept : malloc(largest_of(count, files->sizes) + 1), digest[DIGEST];
    int folder = open(files->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), is_done = content && folder >= 0;
    for (int32_t i = 0; is_done && i < count; i++) {
        if (read_file(folder, files, i, content)) {
            sha256(content, files->sizes[i], digest);
            for (int byte = 0; byte < DIGEST; byte++) {
                digits[(size_t)2 * (DIGEST * i + byte)] = HEX[digest[byte] >> 4];
                digits[(size_t)2 * (DIGEST * i + byte) + 1] = HEX[digest[byte] & 15];
            }
        }
        if (kept) content += files->sizes[i];
    }
    if (folder >= 0) close(folder);
    if (!kept) free(content);
    return is_done;
}

/* SHA-256 of a prefix with each of `count` texts of `bytes` bytes, as binary digests. */
void plumbline_hash_texts(int64_t count, const char *prefix, int64_t prefix_bytes, const char *texts,
                          int64_t bytes, sha256_function sha256, unsigned char *digests) {
    unsigned char joined[256];
    if (prefix_bytes + bytes > (int64_t)sizeof joined) return;
    memcpy(joined, prefix, prefix_bytes);
    for (int64_t i = 0; i < count; i++) {
        memcpy(joined + prefix_bytes, texts + bytes * i, bytes);
        sha256(joined, prefix_bytes + bytes, digests + DIGEST * i);
    }
}

static int is_same(const unsigned char *digest, const char *digits) {
    for (int byte = 0; byte < DIGEST; byte++)
        if (HEX[digest[byte] >> 4] != digits[2 * byte] || HEX[digest[byte] & 15] != digits[2 * byte + 1]) return 0;
    return 1;
}

/* Decodes as many of the images as the arena has room for. Returns how many were gone through.

   expected: count x 64 digits of the SHA-256 that each file must have, or it is REST.
   contents: NULL, or count addresses of the contents with that SHA-256, where they were kept; they are used if
   the file still has the same stamps. */
int32_t plumbline_decode(int32_t count, const files_t *files, const char *expected,
                         const unsigned char *const *contents, sha256_function sha256, const target_t *target,
                         unsigned char *arena, int64_t arena_bytes, result_t *results) {
    unsigned char *buffer = malloc(largest_of(count, files->sizes) + 1), digest[DIGEST];
    int folder = files->root ? open(files->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int64_t used = 0;
    int32_t i = 0;
    for (; i < count; i++) {
        const unsigned char *content = contents ? contents[i] : NULL;
        results[i] = (result_t){0};
        if (content && files->stamps && !is_unchanged(folder, files, i)) content = NULL;
        if (!content) {
            if (!expected || !buffer || folder < 0 || !read_file(folder, files, i, buffer)) continue;
            sha256(buffer, files->sizes[i], digest);
            if (!is_same(digest, expected + (size_t)2 * DIGEST * i)) continue;
            content = buffer;
        }
        int64_t written =
            decode(content, files->sizes[i], target, arena + used, arena_bytes - used, &results[i]);
        if (written < 0 && used) break;
        results[i].offset = used;
        used += written > 0 ? written : 0;
    }
    if (folder >= 0) close(folder);
    free(buffer);
    return i;
}

/* Whether a name has one of the suffixes, and only ASCII: what file_types.claims_to_be_image says of it. */
static int claims_to_be_image(const char *name, const char *suffixes) {
    const char *dot = strrchr(name, '.');
    if (!dot || name[0] == '.') return 0;
    for (const char *byte = name; *byte; byte++)
        if ((unsigned char)*byte >= 0x80) return 0;
    for (; *suffixes; suffixes += strlen(suffixes) + 1)
        if (!strcasecmp(dot, suffixes)) return 1;
    return 0;
}

/* Lists a folder that has nothing but regular files with the suffix of an image.

   suffixes: in lower case, each with a zero byte, and an empty one at the end. text, ends: the names, as in
   files_t, without zero bytes. stats: bytes, modification and change time of each, in ns.
   Returns the number of files, -1 if there is anything else, and -2 if there is no room. */
int64_t plumbline_list(const char *path, const char *suffixes, int64_t room, int64_t text_room, char *text,
                       int32_t *ends, int64_t *stats) {
    DIR *folder = opendir(path);
    int64_t count = 0, used = 0;
    if (!folder) return -1;
    for (struct dirent *entry; count >= 0 && (errno = 0, entry = readdir(folder));) {
        struct stat found;
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
        int64_t bytes = strlen(name);
        if (entry->d_type != DT_REG || !claims_to_be_image(name, suffixes) ||
            fstatat(dirfd(folder), name, &found, AT_SYMLINK_NOFOLLOW)) {
            count = -1;
        } else if (count == room || used + bytes > text_room) {
            count = -2;
        } else {
            memcpy(text + used, name, bytes);
            used += bytes;
            stats[3 * count] = found.st_size;
            stats[3 * count + 1] = ns(found.st_mtim);
            stats[3 * count + 2] = ns(found.st_ctim);
            ends[++count] = used;
        }
    }
    if (count >= 0 && errno) count = -1; /* the end of a folder is no error */
    closedir(folder);
    return count;
}
