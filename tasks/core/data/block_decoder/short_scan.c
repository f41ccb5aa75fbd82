/* Shortens a JPEG to what decoding at 1/8 reads: of the first component (luma) the DC coefficients alone.

   At 1/8, libjpeg makes one pixel of a block of 8x8 by its DC coefficient, but it still decodes the Huffman code
   of each AC coefficient: 18 of the 20 ms of a photo. Here tables skip several of them at a time, and the code
   for "no more coefficients" is written instead. The other components are copied, since libjpeg makes 2x2 pixels
   of a subsampled block. The short file has the same header and tables, and libjpeg gives the same pixels.
   Only a file without any fault is shortened (ITU-T T.81, baseline and extended sequential, one scan). */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LOOK 12 /* bits that are looked up at a time; the tables of a photo then fit into the first cache */
#define MAX_TABLES 4
#define MAX_PARTS 3
#define SLACK (1 << 16) /* bytes: more than a unit of 48 blocks can have, read or written */
#define PADDING 16 /* zero bytes behind a segment, so that reading 8 at a time stays inside */

typedef struct {
    uint8_t bits, symbol; /* bits = 0: the code is longer than LOOK, or there is no such code */
} look_t;

/* As many whole codes with their values as fit in LOOK bits, up to the end of a block: their bits in the lowest
   6 bits; above, the coefficients that they are. END is added if the block ends with them, and NONE is given if
   not even one fits. */
typedef uint16_t joined_t;
enum { END = 256, NONE = 512 };

typedef struct {
    int is_there;
    look_t look[1 << LOOK];
    joined_t joined[1 << LOOK];
    int32_t last[18], first_index[17]; /* by bits: the largest code, or -1; symbol index of the smallest one */
    uint32_t first_code[17];
    uint8_t symbols[256];
    uint32_t end_code; /* of symbol 0 */
    int end_bits;      /* 0: it has no code */
} table_t;

typedef struct {
    uint64_t window; /* the next bits, from the top */
    int bits;        /* of the window that are valid */
    const uint8_t *next;
} reader_t;

typedef struct {
    uint64_t held;
    int bits;
    uint8_t *next;
} writer_t;

typedef struct {
    int across, down;
    table_t *dc, *ac;
} part_t;

static void fill(reader_t *reader) {
    uint64_t word;
    memcpy(&word, reader->next, 8);
    word = __builtin_bswap64(word);
    reader->window |= word >> reader->bits;
    reader->next += (63 - reader->bits) >> 3;
    reader->bits |= 56;
}

static void skip(reader_t *reader, int bits) {
    reader->window <<= bits;
    reader->bits -= bits;
}

static void put_byte(writer_t *writer, uint8_t byte) {
    *writer->next++ = byte;
    if (byte == 0xFF) *writer->next++ = 0;
}

static void put(writer_t *writer, uint64_t value, int bits) { /* at most 32 bits */
    writer->held = writer->held << bits | value;
    writer->bits += bits;
    if (writer->bits < 32) return;
    writer->bits -= 32;
    uint32_t word = (uint32_t)(writer->held >> writer->bits);
    if (((~word - 0x01010101u) & word & 0x80808080u) == 0) { /* no byte is 0xFF */
        uint32_t big = __builtin_bswap32(word);
        memcpy(writer->next, &big, 4);
        writer->next += 4;
        return;
    }
    for (int shift = 24; shift >= 0; shift -= 8) put_byte(writer, (uint8_t)(word >> shift));
}

static void put_rest(writer_t *writer) { /* fills the last byte with ones */
    int fill_bits = -writer->bits & 7;
    uint64_t held = writer->held << fill_bits | ((1u << fill_bits) - 1);
    for (int shift = writer->bits + fill_bits - 8; shift >= 0; shift -= 8)
        put_byte(writer, (uint8_t)(held >> shift));
    writer->held = 0;
    writer->bits = 0;
}

/* Bits and symbol of the next code; 0 bits if there is no such code. */
static int code_of(const table_t *table, uint64_t window, int *symbol) {
    const look_t *look = &table->look[window >> (64 - LOOK)];
    if (look->bits) {
        *symbol = look->symbol;
        return look->bits;
    }
    for (int bits = LOOK + 1; bits <= 16; bits++) {
        int32_t code = (int32_t)(window >> (64 - bits));
        if (code <= table->last[bits]) {
            *symbol = table->symbols[table->first_index[bits] + code - (int32_t)table->first_code[bits]];
            return bits;
        }
    }
    return 0;
}

static void join(table_t *table) {
    for (uint32_t start = 0; start < 1u << LOOK; start++) {
        int used = 0, steps = 0, is_end = 0;
        while (!is_end && steps < 64) {
            const look_t *one = &table->look[(start << used) & ((1u << LOOK) - 1)];
            int size = one->symbol & 15, run = one->symbol >> 4;
            if (!one->bits || used + one->bits + size > LOOK) break;
            used += one->bits + size;
            steps += run + 1;
            is_end = !size && run != 15;
            if (is_end) steps += END - 1 - run;
        }
        table->joined[start] = (joined_t)((used ? steps : NONE) << 6 | used);
    }
}

/* One table of a DHT segment. Returns the bytes it has, or 0 if it is faulty. */
static int64_t read_table(const uint8_t *body, int64_t left, table_t *table) {
    if (left < 16) return 0;
    int64_t total = 0;
    for (int bits = 1; bits <= 16; bits++) total += body[bits - 1];
    if (total > 256 || left < 16 + total) return 0;
    memset(table, 0, sizeof *table);
    table->is_there = 1;
    memcpy(table->symbols, body + 16, (size_t)total);
    uint32_t code = 0;
    int32_t index = 0;
    for (int bits = 1; bits <= 16; bits++, code <<= 1) {
        table->first_code[bits] = code;
        table->first_index[bits] = index;
        for (int number = 0; number < body[bits - 1]; number++, code++, index++) {
            if (code >= 1u << bits) return 0;
            uint8_t symbol = table->symbols[index];
            if (!symbol) {
                table->end_code = code;
                table->end_bits = bits;
            }
            if (bits > LOOK) continue;
            uint32_t step = 1u << (LOOK - bits);
            for (uint32_t place = 0; place < step; place++)
                table->look[code * step + place] = (look_t){(uint8_t)bits, symbol};
        }
        table->last[bits] = body[bits - 1] ? (int32_t)code - 1 : -1;
    }
    join(table);
    return 16 + total;
}

/* Passes the coefficients of a block behind the first; they are written if is_copied. Returns 0 if a code is
   faulty. Everything is in local variables: a byte that is written may be one of a structure. */
static inline __attribute__((always_inline)) int pass_ac(reader_t *reader, writer_t *writer, const table_t *table,
                                                         int is_copied) {
    const joined_t *joined = table->joined;
    uint64_t window = reader->window;
    const uint8_t *next = reader->next;
    int64_t bits = reader->bits, place = 1;
    for (;;) {
        uint64_t window_before, word;
        int64_t bits_before, place_before;
        const uint8_t *next_before;
        writer_t written;
        do {
            memcpy(&word, next, 8);
            window |= __builtin_bswap64(word) >> bits;
            next += (63 - bits) >> 3;
            bits |= 56;
            window_before = window, bits_before = bits, place_before = place, next_before = next;
            uint64_t found = joined[window >> (64 - LOOK)];
            if (is_copied) {
                written = *writer;
                put(writer, window >> 1 >> (63 - (found & 63)), found & 63);
            }
            window <<= found & 63;
            bits -= found & 63;
            place += found >> 6;
        } while (place < 64);
        if (place == 64 || (place > END && place < END + 64)) break;
        if (is_copied) *writer = written;
        int symbol, count = code_of(table, window_before, &symbol); /* one code: a long one, or a block's last */
        if (!count) return 0;
        count += symbol & 15;
        if (is_copied) put(writer, window_before >> (64 - count), count);
        window = window_before << count, bits = bits_before - count, next = next_before;
        place = place_before + (symbol >> 4) + 1;
        if (!(symbol & 15) && symbol != 0xF0) break;
        if (place > 64) return 0;
        if (place == 64) break;
    }
    *reader = (reader_t){window, (int)bits, next};
    return 1;
}

/* Passes a block; is_copied: its coefficients are written too. Returns 0 if a code is faulty. */
static inline __attribute__((always_inline)) int pass(reader_t *reader, writer_t *writer, const part_t *part,
                                                      int is_copied) {
    int symbol;
    fill(reader);
    int bits = code_of(part->dc, reader->window, &symbol);
    if (!bits || symbol > 11) return 0;
    bits += symbol;
    put(writer, reader->window >> (64 - bits), bits);
    skip(reader, bits);
    if (!pass_ac(reader, writer, part->ac, is_copied)) return 0;
    if (!is_copied) put(writer, part->ac->end_code, part->ac->end_bits);
    return 1;
}

/* Copies a segment of a scan without its stuffed zeros. Returns where its marker stands, or NULL. */
static const uint8_t *unstuffed(const uint8_t *from, const uint8_t *end, uint8_t *to, int64_t *bytes) {
    uint8_t *start = to;
    for (;;) {
        const uint8_t *found = memchr(from, 0xFF, (size_t)(end - from));
        if (!found || found + 1 >= end) return NULL;
        memcpy(to, from, (size_t)(found - from));
        to += found - from;
        if (found[1]) {
            memset(to, 0, PADDING);
            *bytes = to - start;
            return found;
        }
        *to++ = 0xFF;
        from = found + 2;
    }
}

typedef struct {
    int height, width, count, interval;
    int ids[MAX_PARTS];
    part_t parts[MAX_PARTS];
    table_t *tables; /* 4 for DC, 4 for AC */
} image_t;

static int read_frame(const uint8_t *body, int64_t bytes, image_t *image) {
    if (image->count || bytes < 6 || body[0] != 8) return 0;
    image->height = body[1] << 8 | body[2];
    image->width = body[3] << 8 | body[4];
    image->count = body[5];
    if ((image->count != 1 && image->count != 3) || bytes != 6 + 3 * image->count) return 0;
    if (!image->height || !image->width) return 0;
    for (int number = 0; number < image->count; number++) {
        const uint8_t *part = body + 6 + 3 * number;
        image->ids[number] = part[0];
        image->parts[number].across = part[1] >> 4;
        image->parts[number].down = part[1] & 15;
        if (!image->parts[number].across || !image->parts[number].down) return 0;
        if (image->parts[number].across > 4 || image->parts[number].down > 4) return 0;
        if (image->parts[number].across > image->parts[0].across) return 0;
        if (image->parts[number].down > image->parts[0].down) return 0;
    }
    return 1;
}

static int read_scan_header(const uint8_t *body, int64_t bytes, image_t *image) {
    if (!image->count || bytes != 4 + 2 * image->count || body[0] != image->count) return 0;
    for (int number = 0; number < image->count; number++) {
        const uint8_t *part = body + 1 + 2 * number;
        if (part[0] != image->ids[number] || part[1] >> 4 >= MAX_TABLES || (part[1] & 15) >= MAX_TABLES) return 0;
        image->parts[number].dc = &image->tables[part[1] >> 4];
        image->parts[number].ac = &image->tables[MAX_TABLES + (part[1] & 15)];
        if (!image->parts[number].dc->is_there || !image->parts[number].ac->is_there) return 0;
    }
    const uint8_t *rest = body + 1 + 2 * image->count;
    return image->parts[0].ac->end_bits && rest[0] == 0 && rest[1] == 63 && rest[2] == 0;
}

/* Everything before the scan. Returns where the scan starts, or NULL. */
static const uint8_t *read_header(const uint8_t *content, const uint8_t *end, image_t *image) {
    const uint8_t *place = content + 2;
    while (place + 4 <= end && place[0] == 0xFF) {
        int marker = place[1];
        int64_t bytes = (place[2] << 8 | place[3]) - 2;
        const uint8_t *body = place + 4;
        if (marker < 0xC0 || (marker >= 0xD0 && marker <= 0xD9) || bytes < 0 || body + bytes > end) return NULL;
        place = body + bytes;
        if (marker == 0xDA) return read_scan_header(body, bytes, image) ? place : NULL;
        if (marker == 0xC0 || marker == 0xC1) {
            if (!read_frame(body, bytes, image)) return NULL;
        } else if (marker == 0xC4) {
            for (int64_t at = 0, used; at < bytes; at += used + 1) {
                int number = body[at] & 15;
                if (body[at] >> 4 > 1 || number >= MAX_TABLES) return NULL;
                table_t *table = &image->tables[(body[at] >> 4) * MAX_TABLES + number];
                used = read_table(body + at + 1, bytes - at - 1, table);
                if (!used) return NULL;
            }
        } else if (marker == 0xDD) {
            if (bytes != 2) return NULL;
            image->interval = body[0] << 8 | body[1];
        } else if (marker >= 0xC2 && marker <= 0xCF) {
            return NULL; /* progressive, lossless, arithmetic */
        } else if (marker == 0xDC) {
            return NULL; /* the number of lines, later */
        }
    }
    return NULL;
}

static int pass_unit(reader_t *reader, writer_t *writer, const image_t *image) {
    if (image->count == 1) return pass(reader, writer, &image->parts[0], 0);
    for (int number = 0; number < image->count; number++) {
        const part_t *part = &image->parts[number];
        for (int block = part->across * part->down; block; block--)
            if (!(number ? pass(reader, writer, part, 1) : pass(reader, writer, part, 0))) return 0;
    }
    return 1;
}

static int64_t whole(int64_t size, int64_t part) { return (size + part - 1) / part; }

/* The scan. Returns where the short one ends, or NULL. */
static uint8_t *shorten(const uint8_t *scan, const uint8_t *end, const image_t *image, uint8_t *plain,
                        uint8_t *short_scan, const uint8_t *limit) {
    int is_single = image->count == 1;
    int64_t across = 8 * (is_single ? 1 : image->parts[0].across), down = 8 * (is_single ? 1 : image->parts[0].down);
    int64_t units = whole(image->width, across) * whole(image->height, down), bytes;
    writer_t writer = {0, 0, short_scan};
    for (int restarts = 0;; restarts++) {
        int64_t count = image->interval && image->interval < units ? image->interval : units;
        const uint8_t *marker = unstuffed(scan, end, plain, &bytes);
        if (!marker) return NULL;
        reader_t reader = {0, 0, plain};
        for (int64_t unit = 0; unit < count; unit++)
            if (reader.next > plain + bytes + 8 || writer.next > limit || !pass_unit(&reader, &writer, image))
                return NULL;
        if (whole((reader.next - plain) * 8 - reader.bits, 8) != bytes) return NULL;
        put_rest(&writer);
        units -= count;
        if (marker[1] != (units ? 0xD0 + (restarts & 7) : 0xD9)) return NULL;
        *writer.next++ = 0xFF;
        *writer.next++ = marker[1];
        if (!units) return writer.next;
        scan = marker + 2;
    }
}

/* Writes the short file behind the first bytes + 16 bytes of a room, which must have twice the bytes and more than
   2 x SLACK. Returns how many bytes it has, or 0 if the file is to be decoded as it is. */
int64_t plumbline_shorten(const unsigned char *content, int64_t bytes, unsigned char *room, int64_t room_bytes) {
    if (bytes < 4 || content[0] != 0xFF || content[1] != 0xD8) return 0;
    image_t image = {0};
    image.tables = calloc(2 * MAX_TABLES, sizeof(table_t));
    uint8_t *plain = room, *short_content = room + bytes + PADDING, *stop = NULL;
    if (image.tables) {
        const uint8_t *scan = read_header(content, content + bytes, &image);
        if (scan) {
            memcpy(short_content, content, (size_t)(scan - content));
            stop = shorten(scan, content + bytes, &image, plain, short_content + (scan - content),
                           room + room_bytes - SLACK);
        }
    }
    free(image.tables);
    return stop ? stop - short_content : 0;
}
