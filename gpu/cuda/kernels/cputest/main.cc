#include "test.h"

static std::vector<test_case> &cases() {
  static std::vector<test_case> *c = new std::vector<test_case>;
  return *c;
}
test_case::test_case(const char *name, void (*run)()) : name(name), run(run) { cases().push_back(*this); }

static int failures;
static std::map<std::string, double> worst;

void fail(const char *format, ...) {
  failures++;
  if (failures > 20) return;
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  putchar('\n');
}

void note(const std::string &what, double share) { worst[what] = std::max(worst[what], share); }

const char *type_names[] = {"float32", "float16", "bfloat16", "uint8", "int32"};

static u64 state = 0x853c49e6748fea9bull;
u32 random_u32() {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return (u32)(state >> 32);
}
double normal() {
  double s = 0;
  for (int i = 0; i < 12; i++) s += random_u32() / 4294967296.0;
  return s - 6;
}
std::vector<double> normals(size_t n, double scale, double shift) {
  std::vector<double> v(n);
  for (auto &x : v) x = normal() * scale + shift;
  return v;
}

operand::operand(u32 type, size_t n, size_t offset)
    : type(type), n(n), offset(offset), memory(((n + offset) * type_size(type) + 128 + 15) / 16, u32x4{~0u, ~0u, ~0u, ~0u}) {}
operand::operand(u32 type, const std::vector<double> &values, size_t offset) : operand(type, values.size(), offset) {
  for (size_t i = 0; i < values.size(); i++) set(i, values[i]);
}
double operand::get(size_t i) {
  if (type == I32) return ((i32 *)at())[i];
  if (type == U8) return ((u8 *)at())[i];
  return ld(ref(), (i64)i);
}
void operand::set(size_t i, double v) {
  if (type == I32) ((i32 *)at())[i] = (i32)v;
  else if (type == U8) ((u8 *)at())[i] = (u8)v;
  else st(ref(), (i64)i, (float)v);
}
std::vector<double> operand::all() {
  std::vector<double> v(n);
  for (size_t i = 0; i < n; i++) v[i] = get(i);
  return v;
}
std::string operand::bytes(const char *what) {
  const char *first = (const char *)memory.data(), *last = first + memory.size() * 16, *from = at(), *to = from + n * type_size(type);
  for (const char *p = first; p < last; p++)
    if ((p < from || p >= to) && *p != (char)0xff) {
      fail("%s: wrote outside its result, %td bytes from the start", what, p - from);
      break;
    }
  return std::string(from, to);
}

void near(const std::string &what, operand &got, const std::vector<double> &want, double bound) {
  const double rounding = got.type == F16 ? 1.0 / 2048 : got.type == BF16 ? 1.0 / 256 : 1.0 / 16777216;
  const double least = got.type == F16 ? 1.0 / (1 << 25) : 1e-45;
  char text[32];
  snprintf(text, sizeof text, "%g", bound);
  double most = 0;
  for (double w : want) most = std::max(most, std::fabs(w));
  for (size_t i = 0; i < want.size(); i++) {
    const double d = std::fabs(got.get(i) - want[i]), allowed = bound * most + std::fabs(want[i]) * rounding * (1 + bound) + least;
    if (!(d <= allowed)) return fail("%s: element %zu is %.9g, want %.9g: off by %.3g, allowed %.3g", what.c_str(), i, got.get(i), want[i], d, allowed);
    if (got.type == F32) note(what.substr(0, what.find(',')) + ", float32, allowed " + text, bound > 0 && most > 0 ? d / (bound * most) : 0);
  }
}

void every_storage(const std::string &what, const std::function<std::string(u32, size_t)> &f) {
  for (u32 type : float_types) {
    std::string first;
    for (size_t offset : {(size_t)0, (size_t)8, (size_t)3, (size_t)1}) {
      const u64 before = state;
      std::string bytes = f(type, offset);
      if (offset == 0) first = bytes;
      else if (bytes != first) fail("%s, %s: other bits %zu elements off 16 bytes than aligned", what.c_str(), type_names[type], offset);
      if (offset != 1) state = before;
    }
  }
}

int main(int argc, char **argv) {
  std::sort(cases().begin(), cases().end(), [](const test_case &a, const test_case &b) { return std::string(a.name) < b.name; });
  int failed = 0;
  for (const test_case &c : cases()) {
    if (argc > 1 && !std::string(c.name).starts_with(argv[1])) continue;
    const int before = failures;
    worst.clear();
    c.run();
    printf("%s %s\n", failures == before ? "ok  " : "FAIL", c.name);
    for (const auto &w : worst) printf("       %-60s worst %.2f of it\n", w.first.c_str(), w.second);
    failed += failures != before;
  }
  return failed != 0;
}
